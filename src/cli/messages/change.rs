//! `hly messages cancel`

use super::super::{
    Context, Exit, Failure,
    v1::{CancelMessageRequest, cancel_message_response::Outcome},
};
use super::show;

pub(super) async fn cancel(
    context: &mut Context,
    id: String,
    request_id: Option<String>,
) -> Result<(), Failure> {
    let client = context.client().await?;
    let request = CancelMessageRequest { id, request_id: request_id.unwrap_or_default() };
    let answer = client.messages().cancel(client.request(request)).await?.into_inner();
    let outcome = answer.outcome();
    if context.output.json {
        context.output.json(&answer)?;
    } else if let Some(message) = &answer.message {
        show::line(&mut context.output, message)?;
    }
    match outcome {
        Outcome::Cancelled | Outcome::AlreadyCancelled => Ok(()),
        Outcome::TooLate => {
            Err(Failure::new(Exit::NotOk, "too late: a hand-off has begun or the message has ended"))
        }
        Outcome::Unspecified => Err(Failure::new(Exit::Internal, "the server did not say what became of it")),
    }
}
