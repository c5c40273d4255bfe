//! How the simulated vendor behaves, told by the recipient's address.

/// What it does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Behaviour {
    /// Takes it and delivers it.
    #[default]
    Deliver,
    Bounce,
    BadRecipient,
    Reject,
    Delay,
    Throttle,
    Transient,
    Ambiguous,
    Lost,
    Unauthorized,
    Duplicate,
    OutOfOrder,
    Silent,
    Read,
    Slow,
}

/// The words, in the order of the last two digits of the phone numbers, from 01.
const WORDS: [(&str, Behaviour); 14] = [
    ("bounce", Behaviour::Bounce),
    ("badrecipient", Behaviour::BadRecipient),
    ("reject", Behaviour::Reject),
    ("delay", Behaviour::Delay),
    ("throttle", Behaviour::Throttle),
    ("transient", Behaviour::Transient),
    ("ambiguous", Behaviour::Ambiguous),
    ("lost", Behaviour::Lost),
    ("unauthorized", Behaviour::Unauthorized),
    ("duplicate", Behaviour::Duplicate),
    ("outoforder", Behaviour::OutOfOrder),
    ("silent", Behaviour::Silent),
    ("read", Behaviour::Read),
    ("slow", Behaviour::Slow),
];

/// The numbers end in these digits and two more. They are of no carrier: 500 is the area code for personal numbers.
const NUMBERS: &str = "50055500";

impl Behaviour {
    /// By the address of any channel:
    ///
    /// - e-mail: `bounce@...`, `ann+bounce@...`, `dev-bounce@...`;
    /// - phone: a number that ends in `5005550001` and so on;
    /// - token, handle or contact: `dev-bounce`, and with more behind it `dev-bounce-2`.
    pub(super) fn of(address: &str) -> Self {
        let address = address.trim();
        if let Some(digits) = address.strip_prefix('+') {
            return by_number(digits);
        }
        if !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_digit()) {
            return by_number(address);
        }
        let handle = address.strip_prefix('@').unwrap_or(address);
        let (local, is_mail) = match handle.rsplit_once('@') {
            Some((local, _)) => (local, true),
            None => (handle, false),
        };
        if let Some((_, suffix)) = local.rsplit_once('+') {
            return by_word(suffix).unwrap_or_default();
        }
        if let Some(rest) = strip_prefix_any_case(local, "dev-") {
            let word = rest.split(['-', '_', '.', ':', '/']).next().unwrap_or(rest);
            return by_word(word).unwrap_or_default();
        }
        if is_mail { by_word(local).unwrap_or_default() } else { Self::Deliver }
    }
}

fn by_word(word: &str) -> Option<Behaviour> {
    WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, behaviour)| *behaviour)
}

fn by_number(digits: &str) -> Behaviour {
    let Some((front, last)) = digits.len().checked_sub(2).and_then(|at| digits.split_at_checked(at)) else {
        return Behaviour::Deliver;
    };
    let index = last.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    match index.and_then(|index| WORDS.get(index)) {
        Some((_, behaviour)) if front.ends_with(NUMBERS) => *behaviour,
        _ => Behaviour::Deliver,
    }
}

fn strip_prefix_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_word_on_every_channel() {
        for (index, (word, behaviour)) in WORDS.iter().enumerate() {
            let number = format!("150055500{:02}", index + 1);
            let addresses = [
                format!("{word}@example.test"),
                format!("{}@example.test", word.to_uppercase()),
                format!("ann+{word}@example.test"),
                format!("dev-{word}@example.test"),
                format!("+{number}"),
                number,
                format!("dev-{word}"),
                format!("@dev-{word}"),
                format!("DEV-{word}-17"),
                format!("dev-{word}:token"),
            ];
            for address in addresses {
                assert_eq!(Behaviour::of(&address), *behaviour, "{address}");
            }
        }
    }

    #[test]
    fn others_are_delivered() {
        for address in [
            "",
            "+",
            "ann@example.test",
            "bounces@example.test",
            "ann+news@example.test",
            "contact_k7TmPvQx",
            "read",
            "+15005550000",
            "+15005550015",
            "+15555550001",
            "dev-",
            "dev-other",
            "dév-x",
            "0",
        ] {
            assert_eq!(Behaviour::of(address), Behaviour::Deliver, "{address}");
        }
    }

    proptest! {
        #[test]
        fn no_address_makes_it_panic(address in "\\PC{0,24}") {
            let _ = Behaviour::of(&address);
        }
    }
}
