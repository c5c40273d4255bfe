use std::{error::Error, fmt::Debug, time::Duration};

use super::{Case, Expected, Failure, Step, Transcript, Verdict, Wire, difference, sample};
use crate::contract::{Dispatch, Fault, SendError};

/// The transcripts that every plugin has.
const REQUIRED: &[&str] =
    &["accepted", "throttled", "server_error", "unauthorized", "bad_recipient", "garbage"];

/// How long the suite waits for something that must happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// There is a transcript for each thing that happens with every vendor, and its outcome is what the contract says.
pub fn required_transcripts_exist(case: &Case) -> Verdict {
    for name in REQUIRED {
        let transcript = find(case, name)?;
        let result = match *name {
            "accepted" => matches!(transcript.outcome, super::Outcome::Accepted { .. }),
            "throttled" => is(&transcript, &["THROTTLED"]),
            "server_error" => is(&transcript, &["AMBIGUOUS", "TRANSIENT"]),
            "unauthorized" => is(&transcript, &["UNAUTHORIZED"]),
            "bad_recipient" => is(&transcript, &["BAD_RECIPIENT"]),
            _ => is(&transcript, &["AMBIGUOUS"]),
        };
        if !result {
            return Err(format!("transcript {name} cannot end in {:?}", transcript.outcome));
        }
    }
    Ok(())
}

fn is(transcript: &Transcript, faults: &[&str]) -> bool {
    matches!(&transcript.outcome, super::Outcome::Error { fault, .. } if faults.contains(&fault.as_str()))
}

fn find(case: &Case, name: &str) -> Result<Transcript, Failure> {
    let found = case.transcripts.iter().find(|(have, _)| *have == name);
    let (_, json) = found.ok_or_else(|| format!("there is no transcript {name}"))?;
    Transcript::read(name, json)
}

/// The profile keeps within the descriptor and names usable numbers.
pub fn profile_is_sound(case: &Case) -> Verdict {
    let provider = case.build("http://127.0.0.1:9")?;
    let profile = provider.profile();
    let checks = [
        (profile.kind == case.descriptor.kind, "the kind is another than the descriptor's"),
        (!profile.channels.is_empty(), "it serves no channel"),
        (
            profile.channels.iter().all(|channel| case.descriptor.channels.contains(channel)),
            "it serves channels that the descriptor does not name",
        ),
        (profile.max_in_flight > 0, "it allows no hand-off"),
        (profile.max_body_bytes > 0, "it allows no text"),
        (profile.attempt_deadline >= Duration::from_secs(1), "its deadline is too short"),
        (provider.receipts().is_some() != case.callbacks.is_empty(), "receipts and callbacks disagree"),
    ];
    match checks.iter().find(|(holds, _)| !holds) {
        Some((_, problem)) => Err((*problem).to_owned()),
        None => Ok(()),
    }
}

/// Every transcript: the requests are the expected ones, in order, no more of them, and the outcome is the expected one.
pub async fn transcripts_hold(case: &Case) -> Verdict {
    for (name, json) in case.transcripts {
        let transcript = Transcript::read(name, json)?;
        play(case, &transcript).await.map_err(|failure| format!("transcript {name}: {failure}"))?;
    }
    Ok(())
}

async fn play(case: &Case, transcript: &Transcript) -> Verdict {
    let wire = start(transcript.steps()).await?;
    let provider = case.build(&wire.url())?;
    let result = provider.send(&transcript.dispatch(case.channel, case.recipient)).await;
    check_requests(&wire, &transcript.exchanges.iter().map(|exchange| &exchange.expect).collect::<Vec<_>>())?;
    transcript.outcome.check(&result)
}

fn check_requests(wire: &Wire, expected: &[&Expected]) -> Verdict {
    let seen = wire.seen();
    for (index, (expected, seen)) in expected.iter().zip(&seen).enumerate() {
        difference(expected, seen).map_err(|failure| format!("request {}: {failure}", index + 1))?;
    }
    if expected.len() == seen.len() {
        Ok(())
    } else {
        Err(format!("expected {} requests, got {}", expected.len(), seen.len()))
    }
}

async fn start(steps: Vec<Step>) -> Result<Wire, Failure> {
    Wire::start(steps).await.map_err(|error| format!("no server: {error}"))
}

/// When nothing listens, nothing was sent.
pub async fn refused_connection_is_transient(case: &Case) -> Verdict {
    let url = Wire::nobody().map_err(|error| format!("no port: {error}"))?;
    let sample = find(case, "accepted")?.dispatch(case.channel, case.recipient);
    expect_fault(case.build(&url)?.send(&sample).await, Fault::Transient)
}

/// When the connection ends between the request and the answer, the vendor may have the message.
pub async fn cut_answer_is_ambiguous(case: &Case) -> Verdict {
    let transcript = find(case, "accepted")?;
    let mut steps = transcript.steps();
    steps.pop();
    steps.push(Step::Cut);
    let wire = start(steps).await?;
    let result = case.build(&wire.url())?.send(&transcript.dispatch(case.channel, case.recipient)).await;
    expect_fault(result, Fault::Ambiguous)
}

/// A text over the limit is refused, and the vendor hears nothing of it.
pub async fn body_over_limit_is_refused_unsent(case: &Case) -> Verdict {
    let wire = start(Vec::new()).await?;
    let provider = case.build(&wire.url())?;
    let mut dispatch = sample::dispatch(case.channel, case.recipient);
    dispatch.body = "x".repeat(provider.profile().max_body_bytes + 1);
    expect_fault(provider.send(&dispatch).await, Fault::Rejected)?;
    check_requests(&wire, &[])
}

/// A send that is dropped while the vendor thinks does not spoil the next one.
pub async fn dropped_send_leaves_it_usable(case: &Case) -> Verdict {
    let transcript = find(case, "accepted")?;
    let mut steps = transcript.steps();
    steps.insert(0, Step::Hold);
    let wire = start(steps).await?;
    let provider = case.build(&wire.url())?;
    let dispatch = transcript.dispatch(case.channel, case.recipient);
    tokio::select! {
        result = provider.send(&dispatch) => return Err(format!("the vendor is silent, and yet: {result:?}")),
        () = wire.wait_for(1) => {}
        () = tokio::time::sleep(PATIENCE) => return Err("no request came".to_owned()),
    }
    let second = tokio::time::timeout(PATIENCE, provider.send(&dispatch)).await;
    transcript.outcome.check(&second.map_err(|_| "the second send hangs".to_owned())?)
}

fn expect_fault(result: Result<crate::contract::Accepted, SendError>, fault: Fault) -> Verdict {
    match result {
        Err(error) if error.fault == fault => Ok(()),
        other => Err(format!("expected {}, got {other:?}", fault.as_str())),
    }
}

/// No secret and no text of a message is seen in `Debug` of the instance or in an error.
pub async fn secrets_stay_hidden(case: &Case) -> Verdict {
    const BODY: &str = "canary-of-the-body";
    let hidden: Vec<&str> = case.canaries.iter().copied().chain([BODY]).collect();
    let absent = case.canaries.iter().find(|canary| {
        let settings = toml::Value::Table((case.settings)("http://127.0.0.1:9")).to_string();
        let transcripts = case.transcripts.iter().any(|(_, json)| json.contains(**canary));
        !settings.contains(**canary) && !transcripts
    });
    if let Some(canary) = absent {
        return Err(format!("the secret {canary} is used nowhere, so its absence proves nothing"));
    }
    for (name, json) in case.transcripts {
        let transcript = Transcript::read(name, json)?;
        let wire = start(transcript.steps()).await?;
        let provider = case.build(&wire.url())?;
        let mut dispatch = transcript.dispatch(case.channel, case.recipient);
        dispatch.body = BODY.to_owned();
        let result = send_and_probe(&*provider, &dispatch).await;
        let shown = [show(&provider), result].concat();
        if let Some(secret) = hidden.iter().find(|secret| shown.contains(**secret)) {
            return Err(format!("transcript {name}: {secret} is seen in {shown}"));
        }
    }
    Ok(())
}

async fn send_and_probe(provider: &dyn crate::contract::ChannelProvider, dispatch: &Dispatch) -> String {
    let results = [provider.send(dispatch).await.map(drop), provider.probe().await];
    results.into_iter().filter_map(Result::err).map(|error| show_error(&error)).collect()
}

fn show(value: &impl Debug) -> String {
    format!("{value:?} {value:#?}")
}

fn show_error(error: &SendError) -> String {
    let mut shown = format!("{error} {}", show(error));
    let mut source = error.source();
    while let Some(cause) = source {
        shown.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    shown
}
