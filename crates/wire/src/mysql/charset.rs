//! The character sets that a client's texts are in.

use encoding_rs as characters;

use crate::value::Encoding;

impl Encoding {
    /// By MySQL's name of the character set, as in `SET NAMES` and the tracked `character_set_client`.
    pub fn of_character_set(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let characters = match name.as_str() {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" | "binary" => return Self::Utf8,
            // Not ISO 8859-1, whatever its name says.
            "latin1" => Some(characters::WINDOWS_1252),
            "latin2" => Some(characters::ISO_8859_2),
            "latin5" => Some(characters::WINDOWS_1254),
            "latin7" => Some(characters::ISO_8859_13),
            "greek" => Some(characters::ISO_8859_7),
            "hebrew" => Some(characters::ISO_8859_8),
            "cp1250" => Some(characters::WINDOWS_1250),
            "cp1251" => Some(characters::WINDOWS_1251),
            "cp1256" => Some(characters::WINDOWS_1256),
            "cp1257" => Some(characters::WINDOWS_1257),
            "cp866" => Some(characters::IBM866),
            "koi8r" => Some(characters::KOI8_R),
            "koi8u" => Some(characters::KOI8_U),
            "macroman" => Some(characters::MACINTOSH),
            "tis620" => Some(characters::WINDOWS_874),
            "sjis" | "cp932" => Some(characters::SHIFT_JIS),
            "ujis" | "eucjpms" => Some(characters::EUC_JP),
            "euckr" => Some(characters::EUC_KR),
            "gb2312" | "gbk" => Some(characters::GBK),
            "gb18030" => Some(characters::GB18030),
            "big5" => Some(characters::BIG5),
            _ => None,
        };
        Self::Other { name, characters }
    }

    /// By the collation of a handshake response: its character set is the client's.
    pub fn of_collation(id: u8) -> Self {
        Self::of_character_set(match id {
            1 | 84 => "big5",
            2 | 9 | 21 | 27 | 77 => "latin2",
            3 | 69 => "dec8",
            4 | 80 => "cp850",
            5 | 8 | 15 | 31 | 47 | 48 | 49 | 94 => "latin1",
            6 | 72 => "hp8",
            7 | 74 => "koi8r",
            10 | 82 => "swe7",
            11 | 65 => "ascii",
            12 | 91 => "ujis",
            13 | 88 => "sjis",
            14 | 23 | 50 | 51 | 52 => "cp1251",
            16 | 71 => "hebrew",
            18 | 89 => "tis620",
            19 | 85 => "euckr",
            20 | 41 | 42 | 79 => "latin7",
            22 | 75 => "koi8u",
            24 | 86 => "gb2312",
            25 | 70 => "greek",
            26 | 34 | 44 | 66 | 99 => "cp1250",
            28 | 87 => "gbk",
            29 | 58 | 59 => "cp1257",
            30 | 78 => "latin5",
            32 | 64 => "armscii8",
            36 | 68 => "cp866",
            37 | 73 => "keybcs2",
            38 | 43 => "macce",
            39 | 53 => "macroman",
            40 | 81 => "cp852",
            57 | 67 => "cp1256",
            92 | 93 => "geostd8",
            95 | 96 => "cp932",
            97 | 98 => "eucjpms",
            248..=250 => "gb18030",
            // 45, 46, 224 to 247 and 255 are utf8mb4; 33, 83 and 192 to 223 its older half; 63 is binary.
            _ => "utf8mb4",
        })
    }
}
