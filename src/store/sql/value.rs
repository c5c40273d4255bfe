//! A value on its way into a row.

use std::sync::Arc;

/// Of the types that columns have.
pub(in super::super) enum Value {
    /// SMALLINT
    Small(Option<i16>),
    /// INTEGER
    Middle(Option<i32>),
    /// BIGINT
    Big(Option<i64>),
    /// TEXT
    Text(Option<Text>),
    /// BLOB
    Bytes(Option<Vec<u8>>),
}

/// A text, whoever holds it.
pub(in super::super) enum Text {
    Owned(String),
    Shared(Arc<str>),
    Static(&'static str),
}

/// How each type becomes a value, unset or not.
macro_rules! from {
    ($($type:ty => $kind:ident, $make:expr;)+) => {
        $(
            impl From<$type> for Value {
                fn from(value: $type) -> Self {
                    Self::$kind(Some($make(value)))
                }
            }
            impl From<Option<$type>> for Value {
                fn from(value: Option<$type>) -> Self {
                    Self::$kind(value.map($make))
                }
            }
        )+
    };
}

from! {
    i16 => Small, std::convert::identity;
    i32 => Middle, std::convert::identity;
    i64 => Big, std::convert::identity;
    String => Text, Text::Owned;
    Arc<str> => Text, Text::Shared;
    &'static str => Text, Text::Static;
    Vec<u8> => Bytes, std::convert::identity;
}
