use std::time::Duration;

use super::{Callback, Case, Verdict};
use crate::contract::{ChannelProvider, ReceiptError, Timestamp, WebhookRequest, WebhookResult};

/// Longer than the window of any scheme.
const LONG: Duration = Duration::from_secs(7 * 24 * 3600);

/// Each callback is read as the receipts that it stands for, unknown events included.
pub fn callbacks_are_read(case: &Case) -> Verdict {
    each(case, |provider, callback| match read(provider, &callback.request()) {
        Ok(result) if result.receipts == callback.receipts => Ok(()),
        other => Err(format!("expected {:?}, got {other:?}", callback.receipts)),
    })
}

/// The same callback again says the same again.
pub fn callbacks_are_stable(case: &Case) -> Verdict {
    each(case, |provider, callback| {
        let results = [read(provider, &callback.request()), read(provider, &callback.request())];
        if results[0] == results[1] { Ok(()) } else { Err(format!("two readings: {results:?}")) }
    })
}

/// Without its signature, or with an empty one, a callback is not taken.
pub fn unsigned_callbacks_are_refused(case: &Case) -> Verdict {
    each(case, |provider, callback| {
        let mut unsigned = callback.clone();
        unsigned.headers.retain(|(name, _)| name != callback.signature_header);
        if unsigned.headers.len() == callback.headers.len() {
            return Err(format!("it has no header {}", callback.signature_header));
        }
        refused(provider, &unsigned)?;
        unsigned.headers.push((callback.signature_header.to_owned(), String::new()));
        refused(provider, &unsigned)
    })
}

/// With one bit changed anywhere in the body, or one letter of the signature, it is not taken.
pub fn tampered_callbacks_are_refused(case: &Case) -> Verdict {
    each(case, |provider, callback| {
        for index in 0..callback.body.len() {
            let mut tampered = callback.clone();
            tampered.body[index] ^= 1;
            refused(provider, &tampered).map_err(|failure| format!("byte {index} changed: {failure}"))?;
        }
        let mut tampered = callback.clone();
        for (_, value) in tampered.headers.iter_mut().filter(|(name, _)| *name == callback.signature_header) {
            let other = if value.ends_with('0') { "1" } else { "0" };
            value.replace_range(value.len() - 1.., other);
        }
        refused(provider, &tampered)
    })
}

/// A signature that covers a time gets old, and cannot come from the future.
pub fn stale_callbacks_are_refused(case: &Case) -> Verdict {
    each(case, |provider, callback| {
        if !callback.expires {
            return Ok(());
        }
        for now in [callback.now.plus(LONG), callback.now.minus(LONG)] {
            let late = Callback { now, ..callback.clone() };
            match read(provider, &late.request()) {
                Err(ReceiptError::Stale) => {}
                other => return Err(format!("at {now}: expected it to be stale, got {other:?}")),
            }
        }
        Ok(())
    })
}

fn each(case: &Case, check: impl Fn(&dyn ChannelProvider, &Callback) -> Verdict) -> Verdict {
    let provider = case.build("http://127.0.0.1:9")?;
    for callback in &case.callbacks {
        check(&*provider, callback).map_err(|failure| format!("callback {}: {failure}", callback.name))?;
    }
    Ok(())
}

fn read(provider: &dyn ChannelProvider, request: &WebhookRequest<'_>) -> Result<WebhookResult, ReceiptError> {
    match provider.receipts() {
        Some(source) => source.read(request),
        None => Err(ReceiptError::Unverified("it reads no callbacks")),
    }
}

fn refused(provider: &dyn ChannelProvider, callback: &Callback) -> Verdict {
    match read(provider, &callback.request()) {
        Err(ReceiptError::Unverified(_)) => Ok(()),
        other => Err(format!("expected it to be refused, got {other:?}")),
    }
}

impl Callback {
    /// The request as a plugin gets it.
    pub fn request(&self) -> WebhookRequest<'_> {
        WebhookRequest {
            method: self.method,
            url: &self.url,
            headers: &self.headers,
            body: &self.body,
            now: self.now,
        }
    }

    /// A POST at 2026-01-01T00:00:00Z that has no signature yet.
    pub fn post(name: &'static str, url: &str, content_type: &str, body: &str) -> Self {
        Self {
            name,
            method: "POST",
            url: url.to_owned(),
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            signature_header: "",
            body: body.as_bytes().to_vec(),
            now: Timestamp::from_seconds(1_767_225_600),
            expires: false,
            receipts: Vec::new(),
        }
    }

    /// With this signature.
    #[must_use]
    pub fn signed(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.signature_header = header;
        self.headers.push((header.to_owned(), value.into()));
        self
    }

    /// With what it must be read as.
    #[must_use]
    pub fn receipts(mut self, receipts: Vec<crate::contract::Receipt>) -> Self {
        self.receipts = receipts;
        self
    }
}
