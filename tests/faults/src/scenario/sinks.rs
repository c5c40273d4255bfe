//! F23, F24: vendors that refuse, drop, stall, and accept without saying so.

use std::{path::Path, time::Duration};

use headlessly_communication::model::Channel;
use tokio::sync::watch;

use super::stage::Stage;
use crate::{
    book::Book,
    check::{Repeats, Terms},
    gateway::{Fault, Gateway, Keys, Manners},
    mailbox::{self, Mailbox},
    problem::Run,
    report::Report,
    work::Shape,
};

/// Runs it: each class of fault at so many of 1,000.
pub(crate) async fn run(hly: &Path, seed: u64, messages: usize, per_mille: u32) -> Run<Report> {
    let mut report = Report::new("sinks", "sqlite", seed);
    let folder = tempfile::tempdir()?;
    let book = Book::new(&folder.path().join("handed"))?;
    let edge = watch::Sender::new(None);
    let mail = [
        mailbox::Fault::Deaf,
        mailbox::Fault::Busy,
        mailbox::Fault::Later,
        mailbox::Fault::Leaving,
        mailbox::Fault::DropInData,
        mailbox::Fault::DropAfter,
        mailbox::Fault::Tarpit,
        mailbox::Fault::Endless,
        mailbox::Fault::Nonsense,
    ];
    let smtp = Mailbox::start(seed, book.clone(), mail.into_iter().map(|fault| (fault, per_mille)).collect())
        .await?;
    let faults = || {
        let mut rates: Vec<_> = [
            Fault::ResetAfter,
            Fault::ErrorAfter,
            Fault::SilenceAfter,
            Fault::CutAfter,
            Fault::ResetBefore,
            Fault::Unavailable,
            Fault::Refusal,
        ]
        .map(|fault| (fault, per_mille))
        .into();
        // Each of these makes everybody wait for a second.
        rates.push((Fault::TooFast, 2));
        rates
    };
    let mut vendors = Vec::new();
    for (name, channels, keys) in [("text", &["SMS"][..], Keys::Ignored), ("push", &["PUSH"], Keys::Honoured)]
    {
        let manners = Manners { name, channels, keys, faults: faults(), reporter: None };
        vendors.push(Gateway::start(seed, book.clone(), manners).await?);
    }
    let sections: String = vendors.iter().map(|vendor| vendor.toml(32)).collect();
    let toml = format!(
        "[dispatch]\nretry_first = \"20ms\"\nretry_max = \"500ms\"\nmax_attempts = 100\nsweep = \"200ms\"\nhold = \"2s\"\n\
         {sections}{}\n[[provider]]\nname = \"chat\"\nkind = \"chat\"\n",
        smtp.toml()
    );
    let shape = Shape {
        messages,
        batch: 50,
        single_in: 20,
        channels: vec![Channel::Email, Channel::Sms, Channel::Push],
        scheduled_in: 10,
        invalid_in: 200,
    };
    let terms = Terms {
        repeats: Repeats::PerLife(0),
        // What may not be repeated is held, and what the vendor recognises is accepted once.
        once: vec![Channel::Sms, Channel::Push],
        refusals: true,
        last_life: 0,
    };
    let patience = Duration::from_secs(240 + messages as u64 / 50);
    let reporters = Vec::new();
    let stage = Stage { hly, folder: folder.path(), toml, book, reporters, edge, patience };
    report.findings = stage.play(&mut report, shape, &terms).await?;
    let faults = smtp.faults() + vendors.iter().map(Gateway::faults).sum::<u64>();
    report.tell("faults", faults);
    if per_mille > 0 && faults == 0 {
        report.broken("nothing went wrong, so nothing was tried");
    }
    Ok(report)
}
