//! Enums of the contract: each variant is one text on the wire, and a text from a newer node is
//! [`Other`](crate::PaymentStatus::Other).

/// Declares an enum by its variants and their texts, and `Other` for every text that is not among them.
macro_rules! wire_enum {
    (
        $(#[doc = $doc:literal])+
        $name:ident as $schema:literal {
            $($(#[doc = $variant_doc:literal])+ $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $variant_doc])+ $variant,)+
            /// A value that this program does not know.
            Other,
        }

        impl $name {
            /// Every value that is known.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other => "other",
                }
            }

            /// Reads a known value.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = compact_str::CompactString::deserialize(deserializer)?;
                Ok(Self::parse(&text).unwrap_or(Self::Other))
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                crate::schema::text_enum(concat!($($doc),+), &[$($text),+])
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed($schema)
            }
        }
    };
}

pub(crate) use wire_enum;

#[cfg(test)]
mod tests {
    use crate::PaymentStatus;

    #[test]
    fn a_value_reads_back_as_it_was_written_and_an_unknown_one_is_kept_apart() {
        for status in PaymentStatus::ALL {
            let json = serde_json::to_string(status).expect("a text");
            assert_eq!(serde_json::from_str::<PaymentStatus>(&json).expect("its own text"), *status);
        }
        assert_eq!(serde_json::from_str::<PaymentStatus>("\"disputed\"").expect("a text"), PaymentStatus::Other);
        assert!(serde_json::from_str::<PaymentStatus>("7").is_err());
    }
}
