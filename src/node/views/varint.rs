//! Numbers in as few bytes as they need: seven bits in each, the lowest first. Pure.

/// Bytes of the longest number.
const MAX_BYTES: u32 = 10;

pub(super) fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Takes a number from the front of `bytes`; `None` if there is none.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for position in 0..MAX_BYTES {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        let shifted = low << (7 * position);
        if shifted >> (7 * position) != low {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(number: u64, small in 0_u64..300) {
            for number in [number, small, u64::MAX, u64::MAX - small] {
                let mut bytes = Vec::new();
                push_varint(&mut bytes, number);
                let mut rest = bytes.as_slice();
                prop_assert_eq!(take_varint(&mut rest), Some(number));
                prop_assert!(rest.is_empty());
                prop_assert_eq!(take_varint(&mut &bytes[..bytes.len() - 1]), None);
            }
        }
    }

    #[test]
    fn more_than_64_bits_are_no_number() {
        assert_eq!(take_varint(&mut [0xff; 12].as_slice()), None);
        assert_eq!(take_varint(&mut [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02].as_slice()), None);
    }
}
