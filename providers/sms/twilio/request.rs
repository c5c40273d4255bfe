use reqwest::Url;

use super::config::{Config, LONGEST_VALIDITY};
use crate::contract::{Dispatch, Fault, SendError};

/// Longest text, in characters (message resource, `Body`; error 21617).
pub(super) const MAX_BODY_CHARS: usize = 1600;

/// The query parameter of the callback URL that carries our id of the message.
pub(super) const REFERENCE: &str = "hly";

/// The form of a CreateMessage request.
///
/// Source: <https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource>
pub(super) fn form(config: &Config, dispatch: &Dispatch) -> Result<Vec<(&'static str, String)>, SendError> {
    let chars = dispatch.body.chars().count();
    if chars > MAX_BODY_CHARS {
        return Err(refuse(format!("the text has {chars} characters, Twilio takes {MAX_BODY_CHARS}")));
    }
    if !dispatch.attachments.is_empty() {
        return Err(refuse("attachments cannot be sent by SMS: put a link into the text".to_owned()));
    }
    let mut form = vec![("To", dispatch.recipient.address.clone()), ("Body", dispatch.body.clone())];
    form.push(match (&dispatch.sender, &config.messaging_service_sid, &config.from) {
        (Some(sender), ..) => ("From", sender.address.clone()),
        (None, Some(service), _) => ("MessagingServiceSid", service.clone()),
        (None, None, from) => ("From", from.clone().unwrap_or_default()),
    });
    let validity = validity(config, dispatch)?;
    if validity < LONGEST_VALIDITY {
        form.push(("ValidityPeriod", validity.to_string()));
    }
    if let Some(url) = &dispatch.callback_url {
        form.push(("StatusCallback", callback(url, &dispatch.message_id)?));
    }
    Ok(form)
}

/// For how many seconds the message is wanted, as far as Twilio can be told.
fn validity(config: &Config, dispatch: &Dispatch) -> Result<u32, SendError> {
    let Some(expires_at) = dispatch.expires_at else {
        return Ok(config.validity_period);
    };
    match expires_at.since(dispatch.now).as_secs() {
        0 => Err(refuse("the message has expired".to_owned())),
        left => Ok(u32::try_from(left).unwrap_or(u32::MAX).min(config.validity_period)),
    }
}

fn callback(url: &str, message_id: &str) -> Result<String, SendError> {
    let mut url = Url::parse(url)
        .map_err(|error| refuse(format!("the callback URL of the configuration is not a URL: {error}")))?;
    url.query_pairs_mut().append_pair(REFERENCE, message_id);
    Ok(url.into())
}

fn refuse(detail: String) -> SendError {
    SendError::new(Fault::Rejected, detail)
}
