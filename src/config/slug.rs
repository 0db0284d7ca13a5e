//! Slugs: names made valid for a project, a tag, a namespace or a release.
//!
//! A name that is valid already stays as it is; any other is transliterated, cut, and gets a hash of what it was,
//! so that two different names do not fall together. Source: werf 2.x, `werf slugify`.

/// Longest project name.
pub const MAX_PROJECT: usize = 50;
/// Longest image tag. Source: OCI distribution specification.
pub const MAX_TAG: usize = 128;
/// Longest namespace. Source: Kubernetes, DNS label.
pub const MAX_NAMESPACE: usize = 63;
/// Longest release name. Source: Helm.
pub const MAX_RELEASE: usize = 53;

/// Returns the slug of a project name: no hash.
pub fn project(name: &str) -> String {
    if name.is_empty() || is_project(name) {
        return name.to_owned();
    }
    cut(&plain(name), MAX_PROJECT).to_owned()
}

/// Returns the slug of an image tag.
pub fn tag(name: &str) -> String {
    if name.is_empty() || is_tag(name) { name.to_owned() } else { hashed(name, MAX_TAG) }
}

/// Returns the slug of a namespace.
pub fn namespace(name: &str) -> String {
    if name.is_empty() || is_namespace(name) { name.to_owned() } else { hashed(name, MAX_NAMESPACE) }
}

/// Returns the slug of a release name.
pub fn release(name: &str) -> String {
    if name.is_empty() || is_release(name) { name.to_owned() } else { hashed(name, MAX_RELEASE) }
}

/// Returns the slug of any text within a length, for example of a directory of a mount (42).
pub fn limited(name: &str, max: usize) -> String {
    let legacy =
        || name.matches("--").count() == 1 && plain(&name.replacen("--", "-", 1)) == name.replacen("--", "-", 1);
    if name.is_empty() || name.len() <= max && (plain(name) == name || legacy()) {
        return name.to_owned();
    }
    hashed(name, max)
}

/// Says whether a text is a project name.
pub fn is_project(name: &str) -> bool {
    name.len() <= MAX_PROJECT && is_label(name)
}

/// Says whether a text is an image tag.
pub fn is_tag(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.len() <= MAX_TAG && name.starts_with(first) && name.chars().all(|c| first(c) || c == '.' || c == '-')
}

/// Says whether a text is a namespace: a DNS label.
pub fn is_namespace(name: &str) -> bool {
    name.len() <= MAX_NAMESPACE && is_label(name)
}

/// Says whether a text is a release name: a DNS subdomain of Helm's length.
pub fn is_release(name: &str) -> bool {
    name.len() <= MAX_RELEASE && name.split('.').all(is_label)
}

fn is_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = [name.bytes().next(), name.bytes().next_back()];
    ends.iter().all(|b| b.is_some_and(inner)) && name.bytes().all(|b| inner(b) || b == b'-')
}

fn hashed(name: &str, max: usize) -> String {
    let hash = format!("{:x}", murmur3(name.as_bytes()));
    let base = plain(name);
    if base.is_empty() {
        return hash;
    }
    format!("{}-{hash}", cut(&base, max.saturating_sub(hash.len() + 1)))
}

/// Cuts ASCII text.
fn cut(text: &str, max: usize) -> &str {
    text.get(..max).unwrap_or(text)
}

/// Transliterates to lower-case letters, digits and single dashes.
pub fn plain(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            'A'..='Z' => out.push(c.to_ascii_lowercase()),
            c => match transliterated(c) {
                "-" if out.is_empty() || out.ends_with('-') => {}
                text => out.push_str(text),
            },
        }
    }
    if out.ends_with('-') {
        out.pop();
    }
    out
}

fn transliterated(c: char) -> &'static str {
    TABLE.iter().find(|(_, inputs)| inputs.contains(c)).map_or("", |(output, _)| output)
}

/// Returns `MurmurHash3`, 32 bits, seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |k: u32| k.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash = 0_u32;
    for chunk in bytes.chunks(4) {
        let word = chunk.iter().rev().fold(0_u32, |word, b| word << 8 | u32::from(*b));
        hash ^= mix(word);
        if chunk.len() == 4 {
            hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
        }
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// What a character becomes. ASCII letters and digits stand for themselves; what is not here is dropped.
const TABLE: &[(&str, &str)] = &[
    ("-", "&({})-_[],.;:=+<>~/ ＿～"),
    ("0", "⓪"),
    ("2", "²"),
    ("3", "³"),
    ("9", "⒐"),
    ("10", "⒑"),
    ("11", "⒒"),
    ("12", "⒓"),
    ("13", "⒔"),
    ("14", "⒕"),
    ("15", "⒖"),
    ("16", "⒗"),
    ("17", "⒘"),
    ("18", "⒙"),
    ("19", "⒚"),
    ("20", "⒛"),
    ("a", "ÀÁÂÃÄÅàáâãäåĀāĂăĄąǍǎǞǟǠǡǺǻȀȁȂȃȦȧȺɑᴀḀḁẚẠạẢảẤấẦầẨẩẪẫẬậẮắẰằẲẳẴẵẶặₐ⒜ⒶⓐАаＡａ\u{212b}"),
    ("b", "ßƀƁƄƅɃᴃḂḃḄḅḆḇℬ⒝ⒷⓑБбＢｂ"),
    ("c", "ÇçĆćĈĉĊċČčƇƈȻȼᴄḈḉℂ℃℄⒞ⒸⓒЦцＣｃ"),
    ("d", "ÐĎďĐđƉƊɗᴅᴆḊḋḌḍḎḏḐḑḒḓ⒟ⒹⓓДдＤｄ"),
    ("e", "ÈÉÊËèéêëĒēĔĕĖėĘęĚěƐǝȄȅȆȇȨȩɆɇᴇḔḕḖḗḘḙḚḛḜḝẸẹẺẻẼẽẾếỀềỂểỄễỆệₑ℮ℯ⒠ⒺⓔЭэＥｅ"),
    ("f", "ƑƒḞḟ℉⒡ⒻⓕꜰФфＦｆ"),
    ("g", "ĜĝĞğĠġĢģƓǤǥǦǧǴǵɠɡɢḠḡℊ⒢ⒼⓖГгＧｇ"),
    ("h", "ĤĥĦħȞȟḢḣḤḥḦḧḨḩḪḫẖℋℌℍℎℏ⒣ⒽⓗХхＨｈ"),
    ("i", "ÌÍÎÏìíîïĨĩĪīĬĭĮįƖƗǏǐȈȉȊȋḬḭḮḯ⒤ⒾⓘИиＩｉ"),
    ("j", "ĴĵǰȷɈɉᴊ⒥ⒿⓙЙйＪｊ"),
    ("k", "ĶķĸƘƙǨǩᴋḰḱḲḳḴḵ⒦ⓀⓚКкＫｋ\u{212a}"),
    ("l", "İıĹĺĻļĽľĿŀŁłȽȾᴌḶḷḸḹḺḻḼḽ⒧ⓁⓛЛлＬｌ"),
    ("m", "ɱᴍḾḿṀṁṂṃ⒨ⓂⓜМмＭｍ"),
    ("n", "ÑñŃńŅņŇňŉŊŋƝƞǸǹȠᴎṄṅṆṇṈṉṊṋℕ⒩ⓃⓝНнＮｎ"),
    ("o", "ÒÓÔÕÖØðòóôõöøŌōŎŏŐőƟƠơǑǒǪǫǬǭǾǿȌȍȎȏȪȫȬȭȮȯȰȱɵᴏṌṍṎṏṐṑṒṓỌọỎỏỐốỒồỔổỖỗỘộỚớỜờỞởỠỡỢợₒ⒪ⓄⓞОоＯｏ"),
    ("p", "ƤƥṔṕṖṗ℗ℙ⒫ⓅⓟПпＰｐ"),
    ("q", "ƼƽɊɋℚ⒬ⓆⓠＱｑ"),
    ("r", "ŔŕŖŗŘřƦȐȑȒȓɌɍṘṙṚṛṜṝṞṟℛℜℝ℟⒭ⓇⓡРрＲｒ"),
    ("s", "ŚśŜŝŞşŠšſƧƨƩȘșȿṠṡṢṣṤṥṦṧṨṩ⒮ⓈⓢꜱСсＳｓ"),
    ("t", "ŢţŤťŦŧƪƫƬƭƮȚțṪṫṬṭṮṯṰṱẗ⒯ⓉⓣТтＴｔ"),
    ("u", "µÙÚÛÜùúûüŨũŪūŬŭŮůŰűŲųƯưƱƲǓǔǕǖǗǘǙǚǛǜȔȕȖȗɄṲṳṴṵṶṷṸṹṺṻỤụỦủỨứỪừỬửỮữỰự⒰ⓊⓤУуＵｕ"),
    ("v", "ɅṼṽṾṿ⒱ⓋⓥВвＶｖ"),
    ("w", "ŴŵƜɯẀẁẂẃẄẅẆẇẈẉẘ⒲ⓌⓦＷｗ"),
    ("x", "×ẊẋẌẍₓ⒳ⓍⓧＸｘ"),
    ("y", "ÝýÿŶŷŸȲȳɎɏẎẏẙỲỳỴỵỶỷỸỹ⒴ⓎⓨЫыＹｙ"),
    ("z", "ŹźŻżŽžƵƶƷȤȥɀẐẑẒẓẔẕℤ⒵ⓏⓩЗзＺｚ"),
    ("aa", "Ꜳꜳ"),
    ("ac", "℀"),
    ("ae", "ÆæǢǣǼǽᴁᴂ"),
    ("af", "ꜺꜻꜼꜽ"),
    ("aj", "Ꜷꜷ"),
    ("ao", "Ꜵꜵ"),
    ("as", "℁"),
    ("av", "Ꜹꜹ"),
    ("ch", "Чч"),
    ("co", "℅"),
    ("cu", "℆"),
    ("db", "ȸ"),
    ("dz", "ǄǅǆǱǲǳ"),
    ("ij", "Ĳĳ"),
    ("lj", "Ǉǈǉ"),
    ("nd", "Ƌƌ"),
    ("nj", "Ǌǋǌ"),
    ("oe", "Œœɶ"),
    ("px", "℞"),
    ("qp", "ȹ"),
    ("sh", "Шш"),
    ("shch", "Щщ"),
    ("sm", "℠"),
    ("tel", "℡"),
    ("th", "Þþ"),
    ("tm", "™"),
    ("ya", "Яя"),
    ("ye", "Ее"),
    ("yo", "Ёё"),
    ("yu", "Юю"),
    ("zh", "Жж"),
];

#[cfg(test)]
mod tests {
    use super::*;

    // accept: 84
    #[test]
    fn names_are_made_valid_as_werf_does() {
        let x = |n: usize| "x".repeat(n);
        let same = "=";
        let long = "postgres-feature-31981-change-delivery-date-del-result";
        let rows: Vec<(String, String, String, String, String)> = [
            ("A", "a", "A", "a-54dcf7ce", "a-54dcf7ce"),
            ("My_branch", "my-branch", "My_branch", "my-branch-8ebf2d1d", "my-branch-8ebf2d1d"),
            ("feature/foo", "feature-foo", "feature-foo-7a317d96", "feature-foo-7a317d96", "feature-foo-7a317d96"),
            ("da/ta", "da-ta", "da-ta-afa96f8", "da-ta-afa96f8", "da-ta-afa96f8"),
            ("-data", "data", "data-a871d86e", "data-a871d86e", "data-a871d86e"),
            ("release.name", "release-name", same, "release-name-2164be04", same),
            ("a--b", same, same, same, same),
            (
                "branch/one/!@#4.4-3",
                "branch-one-4-4-3",
                "branch-one-4-4-3-4fe08955",
                "branch-one-4-4-3-4fe08955",
                "branch-one-4-4-3-4fe08955",
            ),
            ("my_release-NAME", "my-release-name", same, "my-release-name-8dd403af", "my-release-name-8dd403af"),
            ("Привет", "privyet", "privyet-29a2eec8", "privyet-29a2eec8", "privyet-29a2eec8"),
            ("日本", "", "c4d9f942", "c4d9f942", "c4d9f942"),
            ("!!!", "", "4e4955fc", "4e4955fc", "4e4955fc"),
            ("", "", "", "", ""),
        ]
        .iter()
        .map(|r| (r.0.to_owned(), r.1.to_owned(), r.2.to_owned(), r.3.to_owned(), r.4.to_owned()))
        .chain([
            (x(54), x(50), x(54), x(54), format!("{}-18c5dfb9", x(44))),
            (x(64), x(50), x(64), format!("{}-afd4efcd", x(54)), format!("{}-afd4efcd", x(44))),
            (
                long.to_owned(),
                long[..50].to_owned(),
                long.to_owned(),
                long.to_owned(),
                "postgres-feature-31981-change-delivery-date--852739dc".to_owned(),
            ),
        ])
        .collect();
        for (name, p, t, n, r) in rows {
            let expected = |text: String| if text == same { name.clone() } else { text };
            assert_eq!(project(&name), expected(p), "project {name}");
            assert_eq!(tag(&name), expected(t), "tag {name}");
            assert_eq!(namespace(&name), expected(n), "namespace {name}");
            assert_eq!(release(&name), expected(r), "release {name}");
        }
        assert_eq!(tag(&x(129)), format!("{}-8cca70eb", x(119)));
    }

    #[test]
    fn a_limited_slug_keeps_what_fits() {
        assert_eq!(limited("a-b", 42), "a-b");
        assert_eq!(limited("a--b", 42), "a--b");
        assert_eq!(limited("/var/cache", 42).len(), "var-cache-".len() + 8);
        assert!(limited(&"x".repeat(60), 42).len() == 42);
    }

    #[test]
    fn the_table_has_every_character_once() {
        let all: Vec<char> = TABLE.iter().flat_map(|(_, inputs)| inputs.chars()).collect();
        let distinct: std::collections::BTreeSet<char> = all.iter().copied().collect();
        assert_eq!((all.len(), distinct.len()), (905, 905));
    }
}
