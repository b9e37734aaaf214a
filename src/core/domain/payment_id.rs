//! Payment ids, which contain the index of their entry in the ledger.
//!
//! The layout is a UUID of version 7 (RFC 9562), so ids sort by time and every tool for UUIDs accepts them:
//!
//! ```text
//! 48 bits  milliseconds since the Unix epoch
//!  4 bits  version, 7
//! 12 bits  epoch, its lowest 12 bits
//!  2 bits  variant, binary 10
//! 14 bits  number of the payment within its entry: zero except in batches
//! 48 bits  index
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::{Uuid, Variant};

use super::{LogIndex, Stamp};

const INDEX_BITS: u32 = 48;
const ITEM_BITS: u32 = 14;
const EPOCH_BITS: u32 = 12;
const VARIANT_BITS: u32 = 2;
const VERSION_BITS: u32 = 4;

const ITEM_SHIFT: u32 = INDEX_BITS;
const VARIANT_SHIFT: u32 = ITEM_SHIFT + ITEM_BITS;
const EPOCH_SHIFT: u32 = VARIANT_SHIFT + VARIANT_BITS;
const VERSION_SHIFT: u32 = EPOCH_SHIFT + EPOCH_BITS;
const TIME_SHIFT: u32 = VERSION_SHIFT + VERSION_BITS;

const VERSION: u128 = 7;
const VARIANT: u128 = 0b10;
const TEXT_CHARS: usize = 36;

/// Identifies a payment. Derived from its entry, which the contained index finds again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PaymentId(u128);

/// The text is not a payment id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payment id is a UUID of version 7 written with hyphens, as an answer to POST /v1/payments gives it")]
pub struct PaymentIdError;

impl PaymentId {
    /// The id of a payment by its entry's stamp and its number within the entry, which is zero except in batches.
    /// Numbers that are too large lose their upper bits; 48 bits of index last for almost three hundred years at 30,000
    /// payments a second.
    #[must_use]
    pub fn derive(stamp: Stamp, item: u16) -> Self {
        let time = low_bits(u128::from(stamp.timestamp.0), 48) << TIME_SHIFT;
        let epoch = low_bits(u128::from(stamp.epoch.0), EPOCH_BITS) << EPOCH_SHIFT;
        let item = low_bits(u128::from(item), ITEM_BITS) << ITEM_SHIFT;
        let index = low_bits(u128::from(stamp.index.0), INDEX_BITS);
        let fixed = (VERSION << VERSION_SHIFT) | (VARIANT << VARIANT_SHIFT);
        Self(time | epoch | item | index | fixed)
    }

    /// Parses an id. It may belong to no payment: the caller reads the entry at [`Self::index`] and compares its id.
    ///
    /// # Errors
    /// [`PaymentIdError`] for anything but a hyphenated UUID of version 7.
    pub fn parse(text: &str) -> Result<Self, PaymentIdError> {
        if text.len() != TEXT_CHARS {
            return Err(PaymentIdError);
        }
        let uuid = Uuid::try_parse(text).map_err(|_| PaymentIdError)?;
        let version_7 = uuid.get_version_num() == 7 && uuid.get_variant() == Variant::RFC4122;
        if version_7 { Ok(Self(uuid.as_u128())) } else { Err(PaymentIdError) }
    }

    /// The index of its entry.
    #[must_use]
    pub fn index(self) -> LogIndex {
        LogIndex(u64::try_from(low_bits(self.0, INDEX_BITS)).expect("48 bits fit 64"))
    }

    /// Its number within that entry.
    #[must_use]
    pub fn item(self) -> u16 {
        u16::try_from(low_bits(self.0 >> ITEM_SHIFT, ITEM_BITS)).expect("14 bits fit 16")
    }
}

const fn low_bits(number: u128, bits: u32) -> u128 {
    number & ((1 << bits) - 1)
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Epoch, Timestamp};
    use super::*;

    fn stamp((timestamp_ms, epoch, index): (u64, u64, u64)) -> Stamp {
        Stamp { timestamp: Timestamp(timestamp_ms), epoch: Epoch(epoch), index: LogIndex(index) }
    }

    proptest! {
        #[test]
        fn an_id_reads_back_as_it_was_written_and_contains_its_index_and_number(
            place in (0_u64..1 << 48, 0_u64..1 << 12, 0_u64..1 << 48), item in 0_u16..1 << 14,
        ) {
            let id = PaymentId::derive(stamp(place), item);
            prop_assert_eq!(PaymentId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!((id.index(), id.item()), (LogIndex(place.2), item));
        }

        #[test]
        fn ids_and_their_texts_sort_by_time_then_epoch_then_number_then_index(
            one in (0_u64..1 << 48, 0_u64..1 << 12, 0_u16..1 << 14, 0_u64..1 << 48),
            other in (0_u64..1 << 48, 0_u64..1 << 12, 0_u16..1 << 14, 0_u64..1 << 48),
        ) {
            let id = |(ms, epoch, item, index)| PaymentId::derive(stamp((ms, epoch, index)), item);
            prop_assert_eq!(id(one).cmp(&id(other)), one.cmp(&other));
            prop_assert_eq!(id(one).to_string().cmp(&id(other).to_string()), one.cmp(&other));
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let id = PaymentId::derive(stamp((0x0192_0000_0001, 0x0000_0003, 0x2a)), 5);
        assert_eq!(id.to_string(), "01920000-0001-7003-8005-00000000002a");
    }

    #[test]
    fn a_payment_of_another_epoch_at_the_same_index_has_another_id() {
        assert_ne!(PaymentId::derive(stamp((5, 1, 9)), 0), PaymentId::derive(stamp((5, 2, 9)), 0));
    }

    #[test]
    fn anything_but_a_hyphenated_uuid_of_version_7_is_refused() {
        let wrong_version = "01920000-0001-400d-8005-00000000002a";
        let wrong_variant = "01920000-0001-700d-0005-00000000002a";
        let no_hyphens = "019200000001700d800500000000002a";
        for bad in ["", "42", wrong_version, wrong_variant, no_hyphens, "{01920000-0001-700d-8005-00000000002a}"] {
            assert_eq!(PaymentId::parse(bad), Err(PaymentIdError), "{bad}");
        }
    }
}
