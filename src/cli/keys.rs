//! `hly keys`

use clap::{
    Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::{
    Context, Exit, Failure, Host, Part,
    client::Client,
    config,
    output::{BAD, Cell, GOOD, PLAIN, Table},
    times,
    v1::{ApiKey, CreateApiKeyRequest, ListApiKeysRequest, RevokeApiKeyRequest, api_key::Scope},
};

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key; it is shown this once
    Create {
        /// What it is for
        name: String,
        /// What it may do; send and read when none is given
        #[arg(long = "scope", value_name = "SCOPE", value_parser = scope())]
        scopes: Vec<Scope>,
        /// The tenant it opens; yours when not given
        #[arg(long)]
        tenant: Option<String>,
        /// When it ends: a time, or +90d
        #[arg(long, value_name = "TIME", value_parser = times::parse)]
        expires: Option<prost_types::Timestamp>,
    },
    /// List the keys
    List,
    /// End a key at once
    Revoke {
        /// apikey_...
        id: String,
    },
}

fn scope() -> impl TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(["send", "read", "admin"])
        .map(|word| Scope::from_str_name(&word.to_uppercase()).unwrap_or_default())
}

/// Asks the server; while none runs, works on the store of the configuration itself: a listener that needs keys cannot give the
/// first one.
pub(super) async fn run(context: &mut Context, command: KeysCommand, host: &dyn Host) -> Result<(), Failure> {
    let away = match context.client().await {
        Ok(client) => return with(context, command, client).await,
        Err(failure) if failure.exit == Exit::Unavailable => failure,
        Err(failure) => return Err(failure),
    };
    let loaded = config::load(context.config.as_deref())?;
    // A store that is in use has a server somewhere: then the trouble is the way to it.
    let started = match host.start(loaded.config, Part::Desk).await {
        Ok(started) => started,
        Err(failure) if failure.exit == Exit::TryAgain => return Err(away),
        Err(failure) => return Err(failure),
    };
    super::note("no server runs: working on the store itself");
    context.target.server = format!("http://{}", started.api);
    context.target.api_key = None;
    let result = match context.client().await {
        Ok(client) => with(context, command, client).await,
        Err(failure) => Err(failure),
    };
    started.stop.await;
    result
}

async fn with(context: &mut Context, command: KeysCommand, client: Client) -> Result<(), Failure> {
    match command {
        KeysCommand::Create { name, scopes, tenant, expires } => {
            let scopes = scopes.into_iter().map(Into::into).collect();
            let request =
                CreateApiKeyRequest { name, tenant: tenant.unwrap_or_default(), scopes, expires_at: expires };
            let made = client.keys().create(client.request(request)).await?.into_inner();
            if context.output.json {
                return context.output.json(&made);
            }
            context.output.line(&made.secret)?;
            super::note("Keep it now: it is not shown again.");
            Ok(())
        }
        KeysCommand::List => {
            let keys = client.keys().list(client.request(ListApiKeysRequest {})).await?.into_inner().api_keys;
            print(context, &keys)
        }
        KeysCommand::Revoke { id } => {
            let key = client.keys().revoke(client.request(RevokeApiKeyRequest { id })).await?.into_inner();
            print(context, &[key])
        }
    }
}

fn print(context: &mut Context, keys: &[ApiKey]) -> Result<(), Failure> {
    let output = &mut context.output;
    if output.json {
        return keys.iter().try_for_each(|key| output.json(key));
    }
    let rows: Vec<Vec<Cell>> = keys
        .iter()
        .map(|key| {
            let scopes: Vec<_> = key.scopes().map(|scope| scope.as_str_name().to_lowercase()).collect();
            let revoked = key.revoked_at.is_some();
            vec![
                Cell::from(&key.id),
                Cell::new(if revoked { BAD } else { GOOD }, if revoked { "revoked" } else { "in force" }),
                Cell::from(&key.prefix),
                Cell::from(&key.tenant),
                scopes.join(",").into(),
                times::short(key.created_at.as_ref(), &output.zone).into(),
                Cell::new(PLAIN, times::short(key.expires_at.as_ref(), &output.zone)),
                Cell::from(&key.name),
            ]
        })
        .collect();
    Table::new(&["ID", "STATE", "PREFIX", "TENANT", "SCOPES", "CREATED", "EXPIRES", "NAME"])
        .page(output, &rows)
}
