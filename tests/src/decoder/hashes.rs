//! Every hash of the format.

use super::primitives::{put_bytes, put_varint};
use super::{Hash, Id, Ref, State, full_body, prefix};

/// BLAKE3 in *derive key* mode over the parts, one after another.
pub fn hash(context: &str, parts: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// The log id of a genesis.
pub fn log_id(genesis: &[u8]) -> Id {
    prefix(&hash("heirloom 1 log id", &[genesis]))
}

/// chain(0).
pub fn chain_zero(genesis: &[u8]) -> Hash {
    hash("heirloom 1 genesis", &[genesis])
}

/// chain(n), of chain(n − 1) and the header.
pub fn chain(before: &Hash, header: &[u8]) -> Hash {
    hash("heirloom 1 chain", &[before, header])
}

/// Whose state a checksum covers.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Log id.
    pub log: Id,
    /// The version's sequence.
    pub sequence: u64,
    /// Entity id.
    pub entity: Id,
    /// The entity's type.
    pub entity_type: &'a str,
}

/// The checksum of a state, in which the version's own entries stand as own.
pub fn state_checksum(of: Identity<'_>, state: &State) -> Id {
    let mut data = of.log.to_vec();
    put_varint(&mut data, of.sequence);
    data.extend_from_slice(&of.entity);
    put_bytes(&mut data, of.entity_type.as_bytes());
    match state {
        State::Tombstone => data.push(0),
        State::Live(leaves) => {
            data.push(1);
            data.extend_from_slice(&full_body(leaves));
        }
    }
    prefix(&hash("heirloom 1 state", &[&data]))
}

/// The states root of a commit.
pub fn states_root(checksums: &[Id]) -> Hash {
    hash("heirloom 1 states", &[checksums.as_flattened()])
}

/// The log root over (log id, last sequence, chain) of all ends, in any order.
pub fn log_root(ends: impl IntoIterator<Item = (Id, u64, Hash)>) -> Hash {
    let mut ends: Vec<_> = ends.into_iter().collect();
    ends.sort_unstable();
    let data: Vec<u8> = ends
        .iter()
        .flat_map(|(log, sequence, chain)| [&log[..], &sequence.to_be_bytes(), chain].concat())
        .collect();
    hash("heirloom 1 log root", &[&data])
}

/// The state digest over (entity, version) of all heads.
pub fn state_digest(heads: impl IntoIterator<Item = (Id, Ref)>) -> Hash {
    heads.into_iter().fold([0; 32], |sum, (entity, head)| {
        let sequence = head.sequence.to_be_bytes();
        add(sum, hash("heirloom 1 head", &[&entity, &head.log, &sequence, &head.prefix]))
    })
}

/// The sum of two numbers modulo 2^256, most significant byte first.
fn add(mut sum: Hash, other: Hash) -> Hash {
    let mut carry = 0;
    for (byte, more) in sum.iter_mut().zip(other).rev() {
        let total = u16::from(*byte) + u16::from(more) + carry;
        *byte = total as u8;
        carry = total >> 8;
    }
    sum
}

/// The dataset id of a name.
pub fn dataset_id(name: &str) -> Id {
    prefix(&hash("heirloom 1 dataset name", &[name.as_bytes()]))
}

/// The name of a branch, from the chain of its first commit.
pub fn branch_name(first: &Hash) -> Id {
    prefix(&hash("heirloom 1 branch", &[first]))
}

/// The nonce of an imported device's genesis.
pub fn import_nonce(dataset: &Id, device: &str) -> Id {
    prefix(&hash("heirloom 1 import nonce", &[dataset, device.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_wrap_and_carry() {
        let one: Hash = std::array::from_fn(|i| u8::from(i == 31));
        assert_eq!(add([0xff; 32], one), [0; 32]);
        let mut carried = [0; 32];
        carried[30] = 1;
        let mut low = [0; 32];
        low[31] = 0xff;
        assert_eq!(add(low, one), carried);
        assert_eq!(add(one, [0; 32]), one);
    }

    #[test]
    fn roots_do_not_depend_on_the_order_of_ends_and_heads() {
        let ends = [([1; 16], 7, [2; 32]), ([0; 16], 9, [3; 32])];
        assert_eq!(log_root(ends), log_root([ends[1], ends[0]]));
        let data = [
            &[0; 16][..],
            &9_u64.to_be_bytes(),
            &[3; 32],
            &[1; 16],
            &7_u64.to_be_bytes(),
            &[2; 32],
        ]
        .concat();
        assert_eq!(log_root(ends), blake3::derive_key("heirloom 1 log root", &data));
        let head = |log| ([5; 16], Ref { log: [log; 16], sequence: 1, prefix: [9; 16] });
        assert_eq!(state_digest([head(1), head(2)]), state_digest([head(2), head(1)]));
        assert_eq!(state_digest([]), [0; 32]);
    }

    #[test]
    fn a_checksum_covers_identity_type_and_state_in_the_written_order() {
        let of = Identity { log: [1; 16], sequence: 300, entity: [2; 16], entity_type: "lamp" };
        let data = [&[1; 16][..], &[0xac, 0x02], &[2; 16], &[4], b"lamp", &[0]].concat();
        assert_eq!(
            state_checksum(of, &State::Tombstone),
            prefix(&blake3::derive_key("heirloom 1 state", &data))
        );
        let mut live = data;
        *live.last_mut().unwrap() = 1;
        live.extend([0, 0]);
        let expected = prefix(&blake3::derive_key("heirloom 1 state", &live));
        assert_eq!(state_checksum(of, &State::Live([].into())), expected);
    }
}
