//! The names of the months in the languages that `ls` speaks.

/// Lower case, without the dot of an abbreviation. Short and long forms of English, German, French,
/// Spanish, Italian, Portuguese, Dutch, Polish, Russian and Swedish.
const NAMES: [&[&str]; 12] = [
    &[
        "jan",
        "january",
        "januar",
        "jän",
        "jänner",
        "janv",
        "janvier",
        "ene",
        "enero",
        "gen",
        "gennaio",
        "janeiro",
        "januari",
        "sty",
        "stycznia",
        "styczeń",
        "янв",
        "января",
        "январь",
    ],
    &[
        "feb",
        "february",
        "februar",
        "févr",
        "fév",
        "fevr",
        "février",
        "febrero",
        "febbraio",
        "fev",
        "fevereiro",
        "februari",
        "lut",
        "lutego",
        "luty",
        "фев",
        "февр",
        "февраля",
        "февраль",
    ],
    &[
        "mar",
        "march",
        "mär",
        "mrz",
        "märz",
        "mars",
        "marzo",
        "março",
        "mrt",
        "maart",
        "marca",
        "marzec",
        "мар",
        "марта",
        "март",
    ],
    &[
        "apr",
        "april",
        "avr",
        "avril",
        "abr",
        "abril",
        "aprile",
        "kwi",
        "kwietnia",
        "kwiecień",
        "апр",
        "апреля",
        "апрель",
    ],
    &[
        "may", "mai", "mayo", "mag", "maggio", "maio", "mei", "maj", "maja", "май", "мая",
    ],
    &[
        "jun", "june", "juni", "juin", "junio", "giu", "giugno", "junho", "cze", "czerwca",
        "czerwiec", "июн", "июня", "июнь",
    ],
    &[
        "jul", "july", "juli", "juil", "juillet", "julio", "lug", "luglio", "julho", "lip",
        "lipca", "lipiec", "июл", "июля", "июль",
    ],
    &[
        "aug",
        "august",
        "août",
        "aoû",
        "aout",
        "ago",
        "agosto",
        "augustus",
        "augusti",
        "sie",
        "sierpnia",
        "sierpień",
        "авг",
        "августа",
        "август",
    ],
    &[
        "sep",
        "sept",
        "september",
        "septembre",
        "set",
        "septiembre",
        "setiembre",
        "settembre",
        "setembro",
        "wrz",
        "września",
        "wrzesień",
        "сен",
        "сент",
        "сентября",
        "сентябрь",
    ],
    &[
        "oct",
        "october",
        "okt",
        "oktober",
        "octobre",
        "octubre",
        "ott",
        "ottobre",
        "out",
        "outubro",
        "paź",
        "października",
        "październik",
        "окт",
        "октября",
        "октябрь",
    ],
    &[
        "nov",
        "november",
        "novembre",
        "noviembre",
        "novembro",
        "lis",
        "listopada",
        "listopad",
        "ноя",
        "нояб",
        "ноября",
        "ноябрь",
    ],
    &[
        "dec",
        "december",
        "dez",
        "dezember",
        "déc",
        "décembre",
        "decembre",
        "dic",
        "diciembre",
        "dicembre",
        "dezembro",
        "gru",
        "grudnia",
        "grudzień",
        "дек",
        "декабря",
        "декабрь",
    ],
];

/// No name is longer, in bytes of UTF-8.
const LONGEST: usize = 24;

/// The month of this name, 1 to 12, in any case; `None` if it is none.
///
/// What is not UTF-8 is read as ISO 8859-1, which old servers of western Europe send.
pub(super) fn by_name(name: &[u8]) -> Option<i8> {
    english(name).or_else(|| local(name))
}

/// The three letters that nearly every server sends, without a walk through the table.
fn english(name: &[u8]) -> Option<i8> {
    let name: [u8; 3] = name.try_into().ok()?;
    match &name.map(|b| b.to_ascii_lowercase()) {
        b"jan" => Some(1),
        b"feb" => Some(2),
        b"mar" => Some(3),
        b"apr" => Some(4),
        b"may" => Some(5),
        b"jun" => Some(6),
        b"jul" => Some(7),
        b"aug" => Some(8),
        b"sep" => Some(9),
        b"oct" => Some(10),
        b"nov" => Some(11),
        b"dec" => Some(12),
        _ => None,
    }
}

fn local(name: &[u8]) -> Option<i8> {
    if name.len() > LONGEST || name.len() < 3 {
        return None;
    }
    let mut folded = [0u8; 2 * LONGEST];
    let mut length = 0;
    let mut push = |c: char| {
        for lower in c.to_lowercase() {
            let end = length + lower.len_utf8();
            lower.encode_utf8(folded.get_mut(length..end)?);
            length = end;
        }
        Some(())
    };
    match std::str::from_utf8(name) {
        Ok(text) => text.chars().try_for_each(&mut push)?,
        Err(_) => name.iter().try_for_each(|b| push(char::from(*b)))?,
    }
    let folded = &folded[..length];
    let month = NAMES
        .iter()
        .position(|names| names.iter().any(|n| n.as_bytes() == folded))?;
    i8::try_from(month + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_means_one_month() {
        let mut seen = std::collections::HashMap::new();
        for (n, names) in NAMES.iter().enumerate() {
            for name in *names {
                assert!(name.len() <= LONGEST, "{name}");
                assert_eq!(seen.insert(*name, n), None, "{name}");
                assert_eq!(
                    by_name(name.to_uppercase().as_bytes()),
                    i8::try_from(n + 1).ok(),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn latin_1_and_strangers() {
        assert_eq!(by_name(b"m\xe4r"), Some(3));
        assert_eq!(by_name(b"AO\xdbT"), Some(8));
        for name in [
            &b""[..],
            b"foo",
            b"ja",
            b"janx",
            b"???",
            b"\xff\xfe\xfd",
            &[0xff; 24],
            &[b'x'; 99],
        ] {
            assert_eq!(by_name(name), None, "{name:?}");
        }
    }
}
