//! `hly tickets`

use clap::Subcommand;

use super::{
    Context, Failure, args,
    output::{BAD, Cell, PLAIN, Table},
    pages::{self, ListArgs},
    times,
    v1::{FindTicketsRequest, ticket::Priority},
};

#[derive(Subcommand)]
pub(super) enum TicketsCommand {
    /// List tickets
    List(ListArgs),
}

pub(super) async fn run(context: &mut Context, command: TicketsCommand) -> Result<(), Failure> {
    let TicketsCommand::List(list) = command;
    let client = context.client().await?;
    let (filter, order_by) = (args::filter(list.filter, &[]), list.order_by.unwrap_or_default());
    let fetch = async |page_size, page_token| {
        let (filter, order_by) = (filter.clone(), order_by.clone());
        let request = client.request(FindTicketsRequest { filter, order_by, page_size, page_token });
        let page = client.tickets().find(request).await?.into_inner();
        Ok((page.tickets, page.next_page_token))
    };
    let mut table = Table::new(&["ID", "STATUS", "PRIORITY", "CHANNEL", "REQUESTER", "AT", "SUBJECT"]);
    let output = &mut context.output;
    pages::each(list.limit, fetch, |tickets| {
        if output.json {
            return tickets.iter().try_for_each(|ticket| output.json(ticket));
        }
        let rows: Vec<Vec<Cell>> = tickets
            .iter()
            .map(|ticket| {
                let pressing = matches!(ticket.priority(), Priority::High | Priority::Urgent);
                vec![
                    Cell::from(&ticket.id),
                    ticket.status().as_str_name().into(),
                    Cell::new(if pressing { BAD } else { PLAIN }, ticket.priority().as_str_name()),
                    ticket.channel().as_str_name().into(),
                    Cell::from(&ticket.requester),
                    times::short(ticket.created_at.as_ref(), &output.zone).into(),
                    Cell::from(&ticket.subject),
                ]
            })
            .collect();
        table.page(output, &rows)
    })
    .await
}
