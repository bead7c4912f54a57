//! The running kernel's types, as far as a program needs them that reads its memory: offsets of fields, and
//! enumerators.
//!
//! aya reads BTF to relocate programs and shows neither members nor enumerators. It knows one self-contained section,
//! vmlinux; those of modules are not read. Whatever the section says is checked: no input makes it panic or loop.
//!
//! <https://docs.kernel.org/bpf/btf.html>

use std::{fs::File, io::Read as _};

use crate::limit;

/// The file in which the kernel shows its own types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Distributions' have 4 to 12 MB.
const LARGEST: u64 = 64 << 20;

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
/// Structures in structures without a name, and modifiers of modifiers, that are looked through.
const DEPTH: usize = 16;

/// Why something is not known of the kernel's types.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {VMLINUX}: {0}; {remedy}", remedy = remedy(.0))]
    Read(#[from] std::io::Error),
    #[error("{VMLINUX} is not BTF: {0}")]
    Malformed(&'static str),
    #[error("this kernel's types have no {0}")]
    Missing(String),
}

/// A file that is not there is a kernel without; any other error may be a limit.
fn remedy(error: &std::io::Error) -> String {
    limit::remedy(error).unwrap_or_else(|| "a kernel has it with CONFIG_DEBUG_INFO_BTF".to_owned())
}

/// A BTF section, by type.
pub struct Btf {
    octets: Vec<u8>,
    strings: std::ops::Range<usize>,
    /// The offset of each type; their ids count from 1.
    types: Vec<usize>,
}

/// A field: bytes from the structure's start, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub offset: u32,
    pub size: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pointer,
    Structure,
    Union,
    Enum,
    Enum64,
    /// Another name for another type, or a qualifier of it.
    Alias,
    /// With a size of its own and nothing inside that is asked for.
    Sized,
    Other,
}

/// The part that all types have.
struct Type {
    name: usize,
    kind: Kind,
    /// Members, enumerators and the like.
    count: usize,
    /// Whether a member's offset has a width beside it.
    has_widths: bool,
    size_or_type: u32,
    /// The offset of the members.
    members: usize,
}

impl Btf {
    /// The running kernel's.
    ///
    /// # Errors
    /// When there is none, or it is not what BTF is.
    pub fn of_this_kernel() -> Result<Self, Error> {
        let mut octets = Vec::new();
        File::open(VMLINUX)?.take(LARGEST).read_to_end(&mut octets)?;
        Self::parse(octets)
    }

    /// Finds where each type begins.
    ///
    /// # Errors
    /// When a length leads out of the section, or a kind is unknown: what follows it cannot be found then.
    pub fn parse(octets: Vec<u8>) -> Result<Self, Error> {
        const SHORT: Error = Error::Malformed("it ends within its header");
        let word = |at| u32_at(&octets, at).map(|it| it as usize);
        if octets.get(..2).ok_or(SHORT)? != MAGIC.to_ne_bytes() || octets.get(2) != Some(&1) {
            return Err(Error::Malformed("magic or version is another"));
        }
        let fields = [word(4), word(8), word(12), word(16), word(20)];
        let [Some(header), Some(types_at), Some(types_length), Some(strings_at), Some(strings_length)] = fields else {
            return Err(SHORT);
        };
        // Numbers of 32 bits do not overflow a usize of 64; on 32 bits they are checked all the same.
        let range = |at: usize, length: usize| {
            let from = header.checked_add(at)?;
            let to = from.checked_add(length)?;
            (header >= HEADER && to <= octets.len()).then_some(from..to)
        };
        let (Some(within), Some(strings)) = (range(types_at, types_length), range(strings_at, strings_length)) else {
            return Err(Error::Malformed("a section lies outside"));
        };
        let mut btf = Self { octets, strings, types: Vec::new() };
        let mut at = within.start;
        while at < within.end {
            let next = btf.next(at).filter(|next| *next <= within.end);
            let next = next.ok_or(Error::Malformed("a type ends outside, or is of an unknown kind"))?;
            btf.types.push(at);
            at = next;
        }
        Ok(btf)
    }

    /// The place of a field of a structure, also within structures and unions without a name. Bit fields have no
    /// address.
    ///
    /// # Errors
    /// When there is no such structure or field.
    pub fn field(&self, structure: &str, field: &str) -> Result<Field, Error> {
        let missing = || Error::Missing(format!("{structure}.{field}"));
        let it = self.named(structure, Kind::Structure).ok_or_else(missing)?;
        let (bits, of) = self.member(&it, field, DEPTH).ok_or_else(missing)?;
        let size = self.size(of).ok_or_else(missing)?;
        if bits % 8 != 0 {
            return Err(missing());
        }
        Ok(Field { offset: bits / 8, size })
    }

    /// The enumerators of an enum, with their values' lower 32 bits.
    ///
    /// # Errors
    /// When there is no such enum.
    pub fn enumerators(&self, name: &str) -> Result<Vec<(&str, u32)>, Error> {
        let it = self.named(name, Kind::Enum).or_else(|| self.named(name, Kind::Enum64));
        let it = it.ok_or_else(|| Error::Missing(format!("enum {name}")))?;
        let step = if it.kind == Kind::Enum { 8 } else { 12 };
        let enumerator = |index: usize| {
            let at = it.members + index * step;
            Some((self.string(u32_at(&self.octets, at)? as usize)?, u32_at(&self.octets, at + 4)?))
        };
        let all: Option<_> = (0..it.count).map(enumerator).collect();
        all.ok_or(Error::Malformed("an enumerator has no name"))
    }

    /// The offset of the type behind the one at `at`.
    fn next(&self, at: usize) -> Option<usize> {
        let it = self.at(at)?;
        let more = match (self.octets_of_info(at)? >> 24) & 0x1f {
            // BTF_KIND_INT, VAR, DECL_TAG
            1 | 14 | 17 => 4,
            // ARRAY
            3 => 12,
            // STRUCT, UNION, DATASEC, ENUM64
            4 | 5 | 15 | 19 => it.count * 12,
            // ENUM, FUNC_PROTO
            6 | 13 => it.count * 8,
            // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
            2 | 7..=12 | 16 | 18 => 0,
            _ => return None,
        };
        // A length of 16 bits: no sum overflows.
        Some(it.members + more)
    }

    fn octets_of_info(&self, at: usize) -> Option<u32> {
        u32_at(&self.octets, at + 4)
    }

    fn at(&self, at: usize) -> Option<Type> {
        let info = self.octets_of_info(at)?;
        let kind = match (info >> 24) & 0x1f {
            1 | 16 => Kind::Sized,
            2 => Kind::Pointer,
            4 => Kind::Structure,
            5 => Kind::Union,
            6 => Kind::Enum,
            19 => Kind::Enum64,
            8..=11 | 18 => Kind::Alias,
            _ => Kind::Other,
        };
        Some(Type {
            name: u32_at(&self.octets, at)? as usize,
            kind,
            count: (info & 0xffff) as usize,
            has_widths: info >> 31 != 0,
            size_or_type: u32_at(&self.octets, at + 8)?,
            members: at + 12,
        })
    }

    fn by_id(&self, id: u32) -> Option<Type> {
        self.at(*self.types.get((id as usize).checked_sub(1)?)?)
    }

    fn named(&self, name: &str, kind: Kind) -> Option<Type> {
        self.types.iter().filter_map(|&at| self.at(at)).find(|it| it.kind == kind && self.string(it.name) == Some(name))
    }

    /// A member's offset in bits, and its type; none of a bit field.
    fn member(&self, of: &Type, name: &str, depth: usize) -> Option<(u32, u32)> {
        (0..of.count).find_map(|index| {
            let at = of.members + index * 12;
            let [its_name, its_type, place] = [0, 4, 8].map(|it| u32_at(&self.octets, at + it));
            let (its_name, its_type, place) = (self.string(its_name? as usize)?, its_type?, place?);
            let (width, bits) = if of.has_widths { (place >> 24, place & 0xff_ffff) } else { (0, place) };
            if its_name == name {
                return (width == 0).then_some((bits, its_type));
            }
            if !its_name.is_empty() || depth == 0 {
                return None;
            }
            let inner = self.by_id(its_type).filter(|it| matches!(it.kind, Kind::Structure | Kind::Union))?;
            let (more, found) = self.member(&inner, name, depth - 1)?;
            Some((bits.checked_add(more)?, found))
        })
    }

    fn size(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEPTH {
            let it = self.by_id(id)?;
            match it.kind {
                Kind::Pointer => return Some(size_of::<usize>() as u32),
                Kind::Structure | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Sized => {
                    return Some(it.size_or_type);
                }
                Kind::Alias => id = it.size_or_type,
                Kind::Other => return None,
            }
        }
        None
    }

    fn string(&self, at: usize) -> Option<&str> {
        let all = self.octets.get(self.strings.clone())?;
        let from = all.get(at..)?;
        let length = from.iter().position(|it| *it == 0)?;
        std::str::from_utf8(&from[..length]).ok()
    }
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|it| u32::from_ne_bytes(*it))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct s { struct { u16 a; union { u32 b; u16 c : 3; }; }; u16 *d; };` and `enum e { X = 7 }`.
    fn small() -> Vec<u8> {
        let strings = b"\0u16\0u32\0s\0a\0b\0c\0d\0e\0X\0alias\0";
        let name = |name: &str| {
            let wanted = [b"\0".as_slice(), name.as_bytes(), b"\0"].concat();
            strings.windows(wanted.len()).position(|it| it == wanted).expect("it is there") as u32 + 1
        };
        const KIND: u32 = 24;
        const WIDTHS: u32 = 1 << 31;
        let types: Vec<u32> = [
            vec![name("u16"), 1 << KIND, 2, 16],                                            // 1
            vec![name("u32"), 1 << KIND, 4, 32],                                            // 2
            vec![0, 2 << KIND, 1],                                                          // 3: u16 *
            vec![0, WIDTHS | 5 << KIND | 2, 4, name("b"), 2, 0, name("c"), 1, 3 << 24 | 5], // 4
            vec![0, 4 << KIND | 2, 8, name("a"), 8, 0, 0, 4, 32],                           // 5
            vec![name("s"), 4 << KIND | 2, 16, 0, 5, 0, name("d"), 3, 64],                  // 6
            vec![name("e"), 6 << KIND | 1, 4, name("X"), 7],                                // 7
            vec![name("alias"), 8 << KIND, 1],                                              // 8: typedef u16
            vec![name("alias"), 8 << KIND, 9],                                              // 9: of itself
        ]
        .concat();
        let header = [24, 0, types.len() as u32 * 4, types.len() as u32 * 4, strings.len() as u32];
        let mut octets = [MAGIC.to_ne_bytes(), [1, 0]].concat();
        header.iter().chain(&types).for_each(|it| octets.extend(it.to_ne_bytes()));
        octets.extend(strings);
        octets
    }

    #[test]
    fn fields_are_found_in_what_has_no_name() {
        let btf = Btf::parse(small()).expect("it is whole");
        let field = |name| btf.field("s", name).ok().map(|it| (it.offset, it.size));
        assert_eq!(field("a"), Some((0, 2)));
        assert_eq!(field("b"), Some((4, 4)));
        assert_eq!(field("c"), None, "a bit field");
        assert_eq!(field("d"), Some((8, 8)));
        assert_eq!(field("e"), None);
        assert_eq!(btf.enumerators("e").expect("it is there"), [("X", 7)]);
        assert!(btf.enumerators("s").is_err());
        assert_eq!(btf.size(9), None, "a typedef of itself");
    }

    /// Each byte changed to others, and each length: errors are answers, panics are not.
    #[test]
    fn nothing_makes_it_panic() {
        let whole = small();
        let ask = |octets: Vec<u8>| {
            let Ok(btf) = Btf::parse(octets) else { return };
            for name in ["a", "b", "c", "d", "e"] {
                let _ = btf.field("s", name);
            }
            let _ = btf.enumerators("e");
        };
        (0..whole.len()).for_each(|length| ask(whole[..length].to_vec()));
        for at in 0..whole.len() {
            for to in [0, 1, 4, 5, 0x7f, 0x80, 0xff] {
                let mut octets = whole.clone();
                octets[at] = to;
                ask(octets);
            }
        }
    }

    /// Everything that this test requires of a kernel, the tool requires as well.
    #[test]
    fn the_running_kernel_is_understood() {
        let btf = match Btf::of_this_kernel() {
            Err(Error::Read(error)) => return eprintln!("skipped: this kernel shows no BTF: {error}"),
            it => it.expect("it is BTF"),
        };
        let size = |name| btf.field("sk_buff", name).map(|it| it.size).ok();
        assert_eq!(["head", "protocol", "network_header", "skb_iif"].map(size), [Some(8), Some(2), Some(2), Some(4)]);
        assert_eq!(size("pkt_type"), None, "a bit field");
        let reasons = btf.enumerators("skb_drop_reason").expect("Linux 5.17");
        for name in ["SKB_DROP_REASON_NETFILTER_DROP", "SKB_DROP_REASON_NO_SOCKET"] {
            assert!(reasons.iter().any(|(it, _)| *it == name), "{name}");
        }
    }
}
