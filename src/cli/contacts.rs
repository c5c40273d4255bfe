//! `hly contacts`

use clap::{Args, Subcommand};
use prost_types::{FieldMask, Value};

use super::{
    Context, Failure, args,
    output::{Cell, Output, Table},
    pages::{self, ListArgs},
    times,
    v1::{
        AddDeviceRequest, Address, Contact, CreateContactRequest, DeleteContactRequest, Device,
        FindContactsRequest, GetContactRequest, UpdateContactRequest, message::Channel,
    },
};

#[derive(Subcommand)]
pub(super) enum ContactsCommand {
    /// List contacts
    List {
        #[command(flatten)]
        list: ListArgs,
        /// Deleted ones too
        #[arg(long)]
        deleted: bool,
    },
    /// Show a contact
    Get {
        /// contact_...
        id: String,
    },
    /// Make a contact
    Create {
        /// contact_... when the CRM has an id already
        #[arg(long)]
        id: Option<String>,
        #[command(flatten)]
        fields: Fields,
    },
    /// Change what is given; any address given replaces all addresses
    Update {
        /// contact_...
        id: String,
        #[command(flatten)]
        fields: Fields,
        /// Only if this is still its version
        #[arg(long, value_name = "VERSION", default_value_t = 0, hide_default_value = true)]
        if_version: i64,
    },
    /// Delete a contact; messages to it will fail
    Delete {
        /// contact_...
        id: String,
    },
    /// Register a device for push, or renew it
    AddDevice {
        /// contact_...
        id: String,
        /// The registration token or installation id
        #[arg(long)]
        token: String,
        /// android, ios or web
        #[arg(long)]
        platform: Option<String>,
        /// The provider that knows the token
        #[arg(long)]
        provider: Option<String>,
    },
}

#[derive(Args)]
pub(super) struct Fields {
    /// What the person is called
    #[arg(long)]
    name: Option<String>,
    /// An e-mail address; may be given several times, in order of preference
    #[arg(long = "email", value_name = "ADDRESS")]
    emails: Vec<String>,
    /// A number like +15550100; may be given several times
    #[arg(long = "sms", value_name = "NUMBER")]
    numbers: Vec<String>,
    /// A chat handle; may be given several times
    #[arg(long = "chat", value_name = "HANDLE")]
    handles: Vec<String>,
    /// The preferred channel
    #[arg(long, value_name = "CHANNEL", value_parser = args::channel(), ignore_case = true)]
    prefer: Option<Channel>,
    /// BCP 47: fr-CA
    #[arg(long)]
    locale: Option<String>,
    /// Europe/Paris
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Your own data; the value is JSON where it reads as JSON
    #[arg(long, value_name = "KEY=VALUE", value_parser = args::pair)]
    metadata: Vec<(String, Value)>,
}

pub(super) async fn run(context: &mut Context, command: ContactsCommand) -> Result<(), Failure> {
    let client = context.client().await?;
    let mut contacts = client.contacts();
    let request_id = String::new();
    let contact = match command {
        ContactsCommand::List { list, deleted } => return self::list(context, list, deleted).await,
        ContactsCommand::Get { id } => contacts.get(client.request(GetContactRequest { id })).await?,
        ContactsCommand::Create { id, fields } => {
            let (contact, _) = contact(id.unwrap_or_default(), fields);
            let request = CreateContactRequest { contact: Some(contact), request_id };
            contacts.create(client.request(request)).await?
        }
        ContactsCommand::Update { id, fields, if_version: version } => {
            let (contact, paths) = contact(id, fields);
            let update_mask = Some(FieldMask { paths });
            let contact = Some(Contact { version, ..contact });
            contacts.update(client.request(UpdateContactRequest { contact, update_mask, request_id })).await?
        }
        ContactsCommand::Delete { id } => {
            contacts.delete(client.request(DeleteContactRequest { id, request_id })).await?
        }
        ContactsCommand::AddDevice { id, token, platform, provider } => {
            let (platform, provider) = (platform.unwrap_or_default(), provider.unwrap_or_default());
            let device = Some(Device { token, platform, provider, ..Default::default() });
            contacts.add_device(client.request(AddDeviceRequest { id, device, request_id })).await?
        }
    };
    let (contact, output) = (contact.into_inner(), &mut context.output);
    if output.json { output.json(&contact) } else { details(output, &contact) }
}

/// The contact, and which fields were given.
fn contact(id: String, fields: Fields) -> (Contact, Vec<String>) {
    let of = |channel: Channel, values: Vec<String>| {
        values.into_iter().map(move |value| Address { channel: channel.into(), value, label: String::new() })
    };
    let addresses: Vec<_> = of(Channel::Email, fields.emails)
        .chain(of(Channel::Sms, fields.numbers))
        .chain(of(Channel::Chat, fields.handles))
        .collect();
    let given = [
        ("name", fields.name.is_some()),
        ("addresses", !addresses.is_empty()),
        ("preferred_channel", fields.prefer.is_some()),
        ("locale", fields.locale.is_some()),
        ("time_zone", fields.time_zone.is_some()),
        ("metadata", !fields.metadata.is_empty()),
    ];
    let contact = Contact {
        id,
        name: fields.name.unwrap_or_default(),
        addresses,
        preferred_channel: fields.prefer.unwrap_or_default().into(),
        locale: fields.locale.unwrap_or_default(),
        time_zone: fields.time_zone.unwrap_or_default(),
        metadata: args::to_struct(fields.metadata),
        ..Default::default()
    };
    (contact, given.into_iter().filter(|(_, given)| *given).map(|(path, _)| path.to_owned()).collect())
}

async fn list(context: &mut Context, list: ListArgs, include_deleted: bool) -> Result<(), Failure> {
    let client = context.client().await?;
    let (filter, order_by) = (args::filter(list.filter, &[]), list.order_by.unwrap_or_default());
    let fetch = async |page_size, page_token| {
        let (filter, order_by) = (filter.clone(), order_by.clone());
        let request = FindContactsRequest { filter, order_by, page_size, page_token, include_deleted };
        let page = client.contacts().find(client.request(request)).await?.into_inner();
        Ok((page.contacts, page.next_page_token))
    };
    let mut table = Table::new(&["ID", "NAME", "PREFERS", "ADDRESSES", "DEVICES", "CREATED"]);
    let output = &mut context.output;
    pages::each(list.limit, fetch, |contacts| {
        if output.json {
            return contacts.iter().try_for_each(|contact| output.json(contact));
        }
        let rows: Vec<Vec<Cell>> = contacts
            .iter()
            .map(|contact| {
                let values: Vec<_> = contact.addresses.iter().map(|address| address.value.as_str()).collect();
                vec![
                    Cell::from(&contact.id),
                    Cell::from(&contact.name),
                    prefers(contact).into(),
                    values.join(", ").into(),
                    contact.devices.len().to_string().into(),
                    times::short(contact.created_at.as_ref(), &output.zone).into(),
                ]
            })
            .collect();
        table.page(output, &rows)
    })
    .await
}

fn prefers(contact: &Contact) -> &'static str {
    match contact.preferred_channel() {
        Channel::Unspecified => "",
        channel => channel.as_str_name(),
    }
}

fn details(output: &mut Output, contact: &Contact) -> Result<(), Failure> {
    let zone = output.zone.clone();
    let mut fields = vec![
        ("id", Cell::from(&contact.id)),
        ("name", Cell::from(&contact.name)),
        ("prefers", prefers(contact).into()),
        ("locale", Cell::from(&contact.locale)),
        ("time zone", Cell::from(&contact.time_zone)),
    ];
    for address in &contact.addresses {
        let text = format!("{}  {} {}", address.channel().as_str_name(), address.value, address.label);
        fields.push(("address", text.trim_end().into()));
    }
    for device in &contact.devices {
        let retired = if device.retired_at.is_some() {
            format!("retired: {}", device.retired_reason)
        } else {
            String::new()
        };
        let text = format!("{}  {}  {} {retired}", device.id, device.platform, device.token);
        fields.push(("device", text.trim_end().into()));
    }
    fields.push(("created", times::full(contact.created_at.as_ref(), &zone).into()));
    fields.push(("deleted", times::full(contact.deleted_at.as_ref(), &zone).into()));
    fields.push(("version", contact.version.to_string().into()));
    output.fields(&fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_names_what_was_given() {
        let fields = Fields {
            name: Some(String::new()),
            emails: vec!["a@b.example".to_owned()],
            numbers: vec!["+1".to_owned()],
            handles: Vec::new(),
            prefer: None,
            locale: None,
            time_zone: None,
            metadata: Vec::new(),
        };
        let (contact, paths) = contact("contact_1".to_owned(), fields);
        assert_eq!(paths, ["name", "addresses"]);
        assert_eq!(contact.addresses.len(), 2);
    }
}
