//! Security descriptors as they lie in a tar (MS-DTYP 2.4.6, `SECURITY_DESCRIPTOR`, self-relative).

type Problem = &'static str;

const HEADER_BYTES: usize = 20;
/// `SE_SELF_RELATIVE`: parts follow the header, at offsets from its start.
const SELF_RELATIVE: u16 = 0x8000;
const DACL_PRESENT: u16 = 0x0004;
const SACL_PRESENT: u16 = 0x0010;
/// `SID_MAX_SUB_AUTHORITIES`.
const SUB_AUTHORITIES_MAX: u8 = 15;
const CUT_OFF: Problem = "its security descriptor is cut off";

/// Checks that every part of a descriptor lies in it and is what it should be.
pub(super) fn check(descriptor: &[u8]) -> Result<(), Problem> {
    let header = descriptor.first_chunk::<HEADER_BYTES>().ok_or(CUT_OFF)?;
    if header[0] != 1 {
        return Err("its security descriptor has an unknown revision");
    }
    let control = u16::from_le_bytes([header[2], header[3]]);
    if control & SELF_RELATIVE == 0 {
        return Err("its security descriptor points elsewhere");
    }
    let part = |at: usize| {
        let offset = number(&header[at..]) as usize;
        if offset == 0 { Ok(None) } else { descriptor.get(offset..).map(Some).ok_or(CUT_OFF) }
    };
    for owner_or_group in [4, 8] {
        part(owner_or_group)?.map_or(Ok(()), check_sid)?;
    }
    for (at, present) in [(12, SACL_PRESENT), (16, DACL_PRESENT)] {
        if control & present != 0 {
            part(at)?.map_or(Ok(()), check_list)?;
        }
    }
    Ok(())
}

/// Revision, number of sub-authorities, six bytes of authority, four bytes for each sub-authority.
fn check_sid(sid: &[u8]) -> Result<(), Problem> {
    let [revision, count, ..] = *sid else { return Err(CUT_OFF) };
    if revision != 1 || count > SUB_AUTHORITIES_MAX {
        return Err("an identity in its security descriptor is malformed");
    }
    if sid.len() < 8 + 4 * usize::from(count) { Err(CUT_OFF) } else { Ok(()) }
}

/// An access control list: its length and the number of its entries, each of which begins with its own length.
fn check_list(list: &[u8]) -> Result<(), Problem> {
    let header = list.first_chunk::<8>().ok_or(CUT_OFF)?;
    let (bytes, count) = (usize::from(u16::from_le_bytes([header[2], header[3]])), [header[4], header[5]]);
    // `MIN_ACL_REVISION` to `MAX_ACL_REVISION`.
    if !matches!(header[0], 2..=4) || bytes < header.len() {
        return Err("an access list in its security descriptor is malformed");
    }
    let mut rest = list.get(header.len()..bytes).ok_or(CUT_OFF)?;
    for _ in 0..u16::from_le_bytes(count) {
        let entry = rest.first_chunk::<4>().ok_or(CUT_OFF)?;
        let bytes = usize::from(u16::from_le_bytes([entry[2], entry[3]]));
        if bytes < entry.len() {
            return Err("an access list in its security descriptor is malformed");
        }
        rest = rest.get(bytes..).ok_or(CUT_OFF)?;
    }
    Ok(())
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Checks that a text may be SDDL: parts `O:`, `G:`, `D:`, `S:` in that order, printable.
pub(super) fn check_sddl(text: &[u8]) -> Result<(), Problem> {
    const NOT_SDDL: Problem = "its security descriptor is not in SDDL";
    if !text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return Err(NOT_SDDL);
    }
    let marks = text.windows(2).filter(|pair| pair[1] == b':' && b"OGDS".contains(&pair[0]));
    let order: Vec<_> = marks.filter_map(|pair| b"OGDS".iter().position(|mark| *mark == pair[0])).collect();
    let begins = text.is_empty() || (text.get(1) == Some(&b':') && b"OGDS".contains(&text[0]));
    if begins && order.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(NOT_SDDL) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Offsets and lengths lie as they like: there is an answer, and nothing outside is looked at.
        #[test]
        fn any_bytes_have_an_answer(parts in prop::collection::vec(any::<u8>(), 0..120), control in any::<u16>()) {
            let [owner, group, system, list] = [0, 1, 2, 3].map(|at| parts.get(at).map_or(0, |byte| u32::from(*byte)));
            let made = descriptor(control | SELF_RELATIVE, [owner, group, system, list], &[&parts]);
            for bytes in [&made, &parts] {
                prop_assert!(check(bytes).is_ok() || check(bytes).is_err());
            }
        }
    }

    /// Owner and group: the administrators, S-1-5-32-544.
    const ADMINISTRATORS: [u8; 16] = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];

    fn descriptor(control: u16, offsets: [u32; 4], parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![1, 0];
        bytes.extend(control.to_le_bytes());
        offsets.iter().for_each(|offset| bytes.extend(offset.to_le_bytes()));
        parts.iter().for_each(|part| bytes.extend(*part));
        bytes
    }

    /// Full access for the administrators.
    fn list() -> Vec<u8> {
        let mut list = vec![2, 0, 32, 0, 1, 0, 0, 0, 0, 0, 24, 0, 0xff, 1, 0x1f, 0];
        list.extend(ADMINISTRATORS);
        list
    }

    #[test]
    fn descriptors_are_taken_apart() {
        let (sid, list) = (ADMINISTRATORS, list());
        assert_eq!(check(&descriptor(0x8000, [20, 36, 0, 0], &[&sid, &sid])), Ok(()));
        assert_eq!(check(&descriptor(0x8004, [20, 20, 0, 36], &[&sid, &list])), Ok(()));
        let compound = [&[3], &list[1..]].concat();
        assert_eq!(check(&descriptor(0x8004, [20, 20, 0, 36], &[&sid, &compound])), Ok(()));
        // A list that is not there allows everybody everything; an offset without the mark means nothing.
        assert_eq!(check(&descriptor(0x8004, [0, 0, 0, 0], &[])), Ok(()));
        assert_eq!(check(&descriptor(0x8000, [0, 0, 0, 9999], &[])), Ok(()));
    }

    #[test]
    fn parts_that_are_not_there_are_refused() {
        let sid = ADMINISTRATORS;
        let whole = descriptor(0x8004, [20, 20, 0, 36], &[&sid, &list()]);
        for length in 0..whole.len() {
            assert_eq!(check(&whole[..length]), Err(CUT_OFF), "{length}");
        }
        assert_eq!(check(&descriptor(0x8000, [u32::MAX, 0, 0, 0], &[])), Err(CUT_OFF));
    }

    #[test]
    fn what_is_no_descriptor_is_refused() {
        let of = |control, parts: &[&[u8]]| check(&descriptor(control, [20, 0, 0, 0], parts)).unwrap_err();
        assert_eq!(of(0, &[]), "its security descriptor points elsewhere");
        assert_eq!(of(0x8000, &[&[2; 8]]), "an identity in its security descriptor is malformed");
        assert_eq!(of(0x8000, &[&[1, 16]]), "an identity in its security descriptor is malformed");
        assert_eq!(check(&[2; 20]).unwrap_err(), "its security descriptor has an unknown revision");
        let listed = |list: &[u8]| check(&descriptor(0x8004, [0, 0, 0, 20], &[list])).unwrap_err();
        assert_eq!(listed(&[9; 16]), "an access list in its security descriptor is malformed");
        assert_eq!(
            listed(&[2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
            "an access list in its security descriptor is malformed"
        );
    }

    #[test]
    fn sddl_has_its_parts_in_order() {
        for good in ["O:BAG:SYD:(A;OICI;FA;;;SY)S:AI", "D:P(A;;GA;;;WD)", ""] {
            assert_eq!(check_sddl(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in ["x", "BA", "G:SYO:BA", "O:BAO:BA", "O:\u{7}"] {
            assert!(check_sddl(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
