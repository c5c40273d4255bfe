//! `hly messages explain`

use super::super::{
    Context, Failure,
    output::{BAD, Cell, DIM, PLAIN, Table},
    times,
    v1::{ExplainMessageRequest, decision::Kind},
};
use super::show;

pub(super) async fn run(context: &mut Context, id: String) -> Result<(), Failure> {
    let client = context.client().await?;
    let answer = client.messages().explain(client.request(ExplainMessageRequest { id })).await?.into_inner();
    let output = &mut context.output;
    if output.json {
        return answer.decisions.iter().try_for_each(|decision| output.json(decision));
    }
    if let Some(message) = &answer.message {
        show::line(output, message)?;
        if let Some(failure) = &message.failure {
            let line = output.paint(BAD, &show::failure(failure));
            output.line(&line)?;
        }
        output.line("")?;
    }
    let rows: Vec<Vec<Cell>> = answer
        .decisions
        .iter()
        .map(|decision| {
            let attempt = if decision.attempt == 0 { String::new() } else { decision.attempt.to_string() };
            let style = if decision.kind() == Kind::End { BAD } else { PLAIN };
            vec![
                Cell::new(DIM, times::full(decision.at.as_ref(), &output.zone)),
                Cell::new(style, decision.kind().as_str_name()),
                attempt.into(),
                Cell::from(&decision.provider),
                Cell::from(&decision.code),
                Cell::from(&decision.summary).whole(),
            ]
        })
        .collect();
    Table::new(&["AT", "DECISION", "TRY", "PROVIDER", "CODE", "WHAT"]).page(output, &rows)
}
