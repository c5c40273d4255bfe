#![allow(clippy::unwrap_used)]

use clap::CommandFactory as _;

use super::*;

fn code(arguments: &[&str]) -> ExitCode {
    let arguments = ["hly"].iter().chain(arguments).map(OsString::from);
    main_with(arguments, &Nobody)
}

/// A program without servers.
pub(super) struct Nobody;

#[async_trait::async_trait(?Send)]
impl Host for Nobody {
    async fn serve(&self, _config: crate::config::Config) -> Result<(), Failure> {
        Ok(())
    }

    async fn tables(&self, _config: &crate::config::Config) -> Result<Tables, Failure> {
        Ok(Tables { has: 1, wants: 2 })
    }

    async fn migrate(&self, _config: &crate::config::Config) -> Result<(), Failure> {
        Ok(())
    }

    async fn examine(&self, _config: &crate::config::Config, _repair: bool) -> Result<Vec<Flaw>, Failure> {
        Ok(Vec::new())
    }

    async fn start(&self, _config: crate::config::Config, _part: Part) -> Result<Started, Failure> {
        Err(Failure::new(Exit::TryAgain, "in use"))
    }
}

fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["hly"].iter().chain(arguments))
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_flag_has_help() {
    fn walk(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        assert!(command.get_about().is_some(), "{path} has no help");
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            assert!(
                argument.get_help().is_some() || ["name", "subject"].contains(&id),
                "{path} --{id} has no help"
            );
        }
        command.get_subcommands().for_each(|inner| walk(inner, &path));
    }
    walk(&Cli::command(), "");
}

#[test]
fn wrong_usage_is_64_and_help_is_0() {
    for wrong in [
        &[][..],
        &["nothing"],
        &["send"],
        &["send", "--to", "x"],
        &["send", "--to", "x", "--id", "message_1", "--body", "b"],
        &["send", "--id", "message_1", "--body", "b"],
        &["send", "--to", "x", "--body", "b", "--channel", "pigeon"],
        &["send", "--to", "x", "--body", "b", "--metadata", "k"],
        &["send", "--to", "x", "--body", "b", "--at", "soon"],
        &["send", "--to", "x", "--body"],
        &["messages", "watch", "--until-final"],
        &["messages", "get", "--", "a", "b"],
        &["--timeout", "0s", "events", "list"],
        &["--color", "blue", "events", "list"],
        &["config", "check", "--jsno"],
    ] {
        assert_eq!(code(wrong), ExitCode::from(64), "{wrong:?}");
    }
    for right in [&["--help"][..], &["--version"], &["messages", "list", "--help"]] {
        assert_eq!(code(right), ExitCode::SUCCESS, "{right:?}");
    }
}

#[test]
fn values_reach_their_places() {
    let cli = parse(&[
        "send",
        "--to",
        "contact_1",
        "--body",
        "-5 %",
        "--channel",
        "SMS",
        "--json",
        "--timeout",
        "2s",
    ]);
    let cli = cli.unwrap();
    assert!(cli.global.json);
    assert_eq!(cli.global.timeout, Duration::from_secs(2));
    assert!(matches!(cli.command, Command::Send(_)));
    for list in [
        &["messages", "list", "--status", "failed", "--order-by", "-created_at", "--limit", "0"][..],
        &["events", "watch", "--type", "Message.*", "--type", "*.Failed", "--from", "0"],
        &["messages", "get", "--", "-id; $(x)"],
        &["contacts", "add-device", "contact_1", "--token", "t"],
        &["keys", "create", "for tests", "--scope", "admin", "--expires", "+90d"],
        &["send", "--batch", "-"],
        &["send", "--id", "message_1", "--at", "+5m"],
    ] {
        assert!(parse(list).is_ok(), "{list:?}: {:?}", parse(list).err());
    }
}

#[test]
fn an_absent_configuration_file_is_78() {
    assert_eq!(code(&["serve", "--config", "/nowhere/hly.toml"]), ExitCode::from(78));
    assert_eq!(code(&["config", "check", "--config", "/nowhere/hly.toml"]), ExitCode::from(78));
}
