//! Headers of safetensors files.

use safetensors::SafeTensors;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::json;
use std::collections::HashSet;
use std::fmt;

/// Fails on a key that stands twice, which the safetensors crate lets pass.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = UniqueKeys;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueKeys, A::Error> {
                let mut seen = HashSet::new();
                while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    if let Some(twice) = seen.replace(key) {
                        return Err(serde::de::Error::custom(format!("the name '{twice}' twice")));
                    }
                }
                Ok(UniqueKeys)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The file's tensors as JSON, in the order of their bytes.
pub fn parse(file: &[u8]) -> Result<String, String> {
    let tensors = SafeTensors::deserialize(file).map_err(|e| e.to_string())?;
    // deserialize() has checked that the header lies inside the file.
    let header_size = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    serde_json::from_slice::<UniqueKeys>(&file[8..8 + header_size]).map_err(|e| e.to_string())?;
    let start = file.as_ptr() as usize;
    let mut list: Vec<_> = tensors
        .iter()
        .map(|(name, view)| {
            let begin = view.data().as_ptr() as usize - start;
            let end = begin + view.data().len();
            json!({"name": name, "dtype": format!("{:?}", view.dtype()), "shape": view.shape(),
                   "begin": begin, "end": end})
        })
        .collect();
    list.sort_by_key(|tensor| tensor["begin"].as_u64());
    Ok(serde_json::Value::Array(list).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    }

    #[test]
    fn lists_tensors_with_offsets_in_the_file() {
        let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let text = parse(&file(header, 8)).unwrap();
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(list[0]["name"], "a");
        assert_eq!(list[0]["dtype"], "F32");
        assert_eq!(list[0]["begin"], 8 + header.len());
        assert_eq!(list[0]["end"], 16 + header.len());
    }

    #[test]
    fn refuses_a_name_that_stands_twice() {
        let tensor = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
        assert!(parse(&file(&format!("{{{tensor},{tensor}}}"), 8)).unwrap_err().contains("twice"));
    }

    #[test]
    fn refuses_wrapping_sizes_and_short_files() {
        let wraps = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#;
        assert!(parse(&file(wraps, 0)).is_err());
        assert!(parse(b"").is_err());
        assert!(parse(&[255; 8]).is_err());
    }

    fn refuses(header: &str, data: usize) {
        assert!(parse(&file(header, data)).is_err(), "{header}");
    }

    #[test]
    fn refuses_offsets_that_wrap_or_leave_the_file() {
        refuses(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,0]}}"#, 8);
        refuses(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8);
        refuses(r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#, 8);
        refuses(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8);
    }

    #[test]
    fn refuses_shapes_that_are_no_sizes() {
        refuses(r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8);
        refuses(r#"{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}"#, 8);
        refuses(r#"{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}"#, 8);
    }

    #[test]
    fn refuses_bytes_of_two_tensors_or_of_none() {
        let tensor = |name: &str, begin: usize| {
            let end = begin + 8;
            format!(r#""{name}":{{"dtype":"F32","shape":[2],"data_offsets":[{begin},{end}]}}"#)
        };
        let both = |second: usize| format!("{{{},{}}}", tensor("a", 0), tensor("b", second));
        assert!(parse(&file(&both(8), 16)).is_ok());
        refuses(&both(4), 12); // overlap
        refuses(&both(12), 20); // a gap
        refuses(&both(8), 20); // trailing bytes
    }
}
