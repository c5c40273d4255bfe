//! `hly activities`

use clap::Subcommand;

use super::{
    Context, Failure, args,
    output::{Cell, Table},
    pages::{self, ListArgs},
    times,
    v1::FindActivitiesRequest,
};

#[derive(Subcommand)]
pub(super) enum ActivitiesCommand {
    /// List activities
    List(ListArgs),
}

pub(super) async fn run(context: &mut Context, command: ActivitiesCommand) -> Result<(), Failure> {
    let ActivitiesCommand::List(list) = command;
    let client = context.client().await?;
    let (filter, order_by) = (args::filter(list.filter, &[]), list.order_by.unwrap_or_default());
    let fetch = async |page_size, page_token| {
        let (filter, order_by) = (filter.clone(), order_by.clone());
        let request = client.request(FindActivitiesRequest { filter, order_by, page_size, page_token });
        let page = client.activities().find(request).await?.into_inner();
        Ok((page.activities, page.next_page_token))
    };
    let mut table = Table::new(&["ID", "TYPE", "STATUS", "CONTACT", "AT", "SUBJECT"]);
    let output = &mut context.output;
    pages::each(list.limit, fetch, |activities| {
        if output.json {
            return activities.iter().try_for_each(|activity| output.json(activity));
        }
        let rows: Vec<Vec<Cell>> = activities
            .iter()
            .map(|activity| {
                vec![
                    Cell::from(&activity.id),
                    activity.r#type().as_str_name().into(),
                    activity.status().as_str_name().into(),
                    Cell::from(&activity.contact),
                    times::short(activity.created_at.as_ref(), &output.zone).into(),
                    Cell::from(&activity.subject),
                ]
            })
            .collect();
        table.page(output, &rows)
    })
    .await
}
