//! `hly bench payload`: one encoded request with a blank token, for load generators that speak gRPC but not our API.

use clap::Args;
use prost::Message as _;

use super::super::{
    Context, Failure, args, times,
    v1::{Message, SendMessageRequest, message::Channel, send_message_request::Target},
};
use super::{load::recipient, token::BLANK};

#[derive(Args)]
pub(super) struct PayloadArgs {
    /// The channel of the message
    #[arg(long, value_parser = args::channel())]
    channel: Channel,
    /// Bytes of its body
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(31..=50_000))]
    size: u32,
    /// Not before this time: 2026-11-23T09:00:00Z, or +15m
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    at: Option<prost_types::Timestamp>,
}

/// Writes it to standard output, as it is.
pub(super) fn run(context: &mut Context, args: &PayloadArgs) -> Result<(), Failure> {
    context.output.bytes(&request(args).encode_to_vec())
}

fn request(args: &PayloadArgs) -> SendMessageRequest {
    let rest = (args.size as usize).saturating_sub(BLANK.len());
    let message = Message {
        channel: args.channel.into(),
        recipient: recipient(args.channel).to_owned(),
        subject: if args.channel == Channel::Email { "Measured".to_owned() } else { String::new() },
        body: BLANK.to_owned() + &"x".repeat(rest),
        scheduled_at: args.at,
        ..Message::default()
    };
    SendMessageRequest { target: Some(Target::Message(Box::new(message))), ..Default::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_token_fits_into_what_is_written() {
        let bytes = request(&PayloadArgs { channel: Channel::Sms, size: 200, at: None }).encode_to_vec();
        let place = bytes.windows(BLANK.len()).position(|window| window == BLANK.as_bytes()).unwrap();
        let stamp = super::super::token::Tokens::new().stamp(5);
        let mut stamped = bytes.clone();
        stamped[place..place + stamp.len()].copy_from_slice(stamp.as_bytes());
        let read = SendMessageRequest::decode(stamped.as_slice()).unwrap();
        let Some(Target::Message(message)) = read.target else { panic!("no message") };
        assert_eq!((message.body.len(), message.body.starts_with(&stamp)), (200, true));
    }
}
