//! `hly migrate`: brings the tables of the store up to date, or tells whether they are.

use clap::Args;

use super::{Context, Exit, Failure, Host, config};

/// What `hly migrate` takes.
#[derive(Args)]
pub(super) struct MigrateArgs {
    /// Change nothing; exit code 1 when there is something to do
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(context: &mut Context, args: &MigrateArgs, host: &dyn Host) -> Result<(), Failure> {
    let config = config::load(context.config.as_deref())?.config;
    let before = host.tables(&config).await?;
    let (has, wants) = (before.has, before.wants);
    if has > wants {
        let text =
            format!("the store has tables of version {has}, and this program knows them up to {wants}");
        return Err(Failure::new(Exit::Config, text).line("use the newer program again, or restore a backup"));
    }
    if !args.check && has < wants {
        host.migrate(&config).await?;
    }
    if context.output.json {
        let line = serde_json::json!({ "from": has, "to": wants, "done": !args.check || has == wants });
        context.output.line_now(&line.to_string())?;
    } else if has == wants {
        context.output.line_now(&format!("tables are of version {wants}: nothing to do"))?;
    } else {
        let did = if args.check { "to be migrated" } else { "migrated" };
        context.output.line_now(&format!("tables {did} from version {has} to {wants}"))?;
    }
    if args.check && has < wants { Err(Failure::quiet(Exit::NotOk)) } else { Ok(()) }
}
