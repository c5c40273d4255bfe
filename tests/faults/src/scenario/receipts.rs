//! F25: reports in any order, repeated, and before our own commit.

use std::{path::Path, time::Duration};

use headlessly_communication::model::Channel;
use tokio::sync::watch;

use super::stage::Stage;
use crate::{
    book::Book,
    check::{Repeats, Terms},
    gateway::{Gateway, Keys, Manners},
    problem::Run,
    receipts::{Names, Reporter},
    report::Report,
    work::Shape,
};

/// Reports of a message, on the average, given that each is said one to five times.
const PER_MESSAGE: usize = 4;

/// Runs it with at least so many reports.
pub(crate) async fn run(hly: &Path, seed: u64, receipts: usize) -> Run<Report> {
    let mut report = Report::new("receipts", "sqlite", seed);
    let folder = tempfile::tempdir()?;
    let book = Book::new(&folder.path().join("handed"))?;
    let edge = watch::Sender::new(None);
    let (mut reporters, mut vendors) = (Vec::new(), Vec::new());
    for (name, channels, names) in [
        ("mail", &["EMAIL"][..], Names::Ours),
        ("text", &["SMS"], Names::Theirs),
        ("push", &["PUSH"], Names::Theirs),
    ] {
        let reporter = Reporter::new(seed, name, names, 5, edge.subscribe());
        reporters.push(reporter.clone());
        let (keys, reporter) = (Keys::Ignored, Some(reporter));
        let manners = Manners { name, channels, keys, faults: Vec::new(), reporter };
        vendors.push(Gateway::start(seed, book.clone(), manners).await?);
    }
    let sections: String = vendors.iter().map(|vendor| vendor.toml(32)).collect();
    let toml = format!(
        "[limits]\nqueue_depth = 10000000\n{sections}\n[[provider]]\nname = \"chat\"\nkind = \"chat\"\n"
    );
    let shape = Shape {
        messages: receipts.div_ceil(PER_MESSAGE),
        batch: 200,
        single_in: 500,
        channels: vec![Channel::Email, Channel::Sms, Channel::Push],
        scheduled_in: 0,
        invalid_in: 0,
    };
    let terms = Terms {
        repeats: Repeats::PerLife(0),
        once: vec![Channel::Email, Channel::Sms, Channel::Push],
        refusals: false,
        last_life: 0,
    };
    let patience = Duration::from_secs(60 + receipts as u64 / 200);
    let stage = Stage { hly, folder: folder.path(), toml, book, reporters, edge, patience };
    report.findings = stage.play(&mut report, shape, &terms).await?;
    Ok(report)
}
