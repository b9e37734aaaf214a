//! Payment ids that carry the place of their entry in the ledger.
//!
//! The layout is a UUID of version 7 (RFC 9562), so it sorts by time and every tool that knows UUIDs takes it:
//!
//! ```text
//! 48 bits  milliseconds since the Unix epoch
//!  4 bits  version, 7
//! 12 bits  epoch, bits 14 to 25
//!  2 bits  variant, binary 10
//! 14 bits  epoch, bits 0 to 13
//! 48 bits  index
//! ```
//!
//! Positions come in as plain numbers: this layer knows no log.

use std::fmt;

use uuid::{Uuid, Variant};

const INDEX_BITS: u32 = 48;
const EPOCH_LOW_BITS: u32 = 14;
const EPOCH_HIGH_BITS: u32 = 12;
const VARIANT_BITS: u32 = 2;
const VERSION_BITS: u32 = 4;

const EPOCH_LOW_SHIFT: u32 = INDEX_BITS;
const VARIANT_SHIFT: u32 = EPOCH_LOW_SHIFT + EPOCH_LOW_BITS;
const EPOCH_HIGH_SHIFT: u32 = VARIANT_SHIFT + VARIANT_BITS;
const VERSION_SHIFT: u32 = EPOCH_HIGH_SHIFT + EPOCH_HIGH_BITS;
const TIME_SHIFT: u32 = VERSION_SHIFT + VERSION_BITS;

const VERSION: u128 = 7;
const VARIANT: u128 = 0b10;
const TEXT_CHARS: usize = 36;

/// Names a payment. Derived from its entry and stored nowhere; the index in it finds the entry again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentId(u128);

/// The text is no payment id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payment id is a UUID of version 7 written with hyphens, as an answer to POST /v1/payments gives it")]
pub struct PaymentIdError;

impl PaymentId {
    /// The id of the payment that stands at `index`, appended in `epoch` at `unix_ms`. The upper bits of a number too
    /// large for its place are left out; 48 bits of index last for almost three hundred years at 30,000 payments a
    /// second.
    #[must_use]
    pub fn derive(unix_ms: u64, epoch: u64, index: u64) -> Self {
        let epoch = u128::from(epoch);
        let time = low_bits(u128::from(unix_ms), 48) << TIME_SHIFT;
        let epoch_high = low_bits(epoch >> EPOCH_LOW_BITS, EPOCH_HIGH_BITS) << EPOCH_HIGH_SHIFT;
        let epoch_low = low_bits(epoch, EPOCH_LOW_BITS) << EPOCH_LOW_SHIFT;
        let index = low_bits(u128::from(index), INDEX_BITS);
        let fixed = (VERSION << VERSION_SHIFT) | (VARIANT << VARIANT_SHIFT);
        Self(time | epoch_high | epoch_low | index | fixed)
    }

    /// Reads an id back. Whether the ledger holds such a payment is for the caller to see: read the entry at
    /// [`Self::index`] and compare its id.
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

    /// The index of the entry that it names.
    #[must_use]
    pub fn index(self) -> u64 {
        u64::try_from(low_bits(self.0, INDEX_BITS)).expect("48 bits fit 64")
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

    use super::*;

    proptest! {
        #[test]
        fn an_id_reads_back_as_it_was_written_and_gives_its_index(
            ms in 0_u64..1 << 48, epoch in 0_u64..1 << 26, index in 0_u64..1 << 48,
        ) {
            let id = PaymentId::derive(ms, epoch, index);
            prop_assert_eq!(PaymentId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!(id.index(), index);
        }

        #[test]
        fn ids_and_their_texts_sort_by_time_then_epoch_then_index(
            one in (0_u64..1 << 48, 0_u64..1 << 26, 0_u64..1 << 48),
            other in (0_u64..1 << 48, 0_u64..1 << 26, 0_u64..1 << 48),
        ) {
            let id = |(ms, epoch, index)| PaymentId::derive(ms, epoch, index);
            prop_assert_eq!(id(one).cmp(&id(other)), one.cmp(&other));
            prop_assert_eq!(id(one).to_string().cmp(&id(other).to_string()), one.cmp(&other));
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let id = PaymentId::derive(0x0192_0000_0001, 0x0000_0003_4005, 0x2a);
        assert_eq!(id.to_string(), "01920000-0001-700d-8005-00000000002a");
    }

    #[test]
    fn a_payment_of_another_epoch_at_the_same_index_has_another_id() {
        assert_ne!(PaymentId::derive(5, 1, 9), PaymentId::derive(5, 2, 9));
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
