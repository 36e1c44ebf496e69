//! Cookies of requests (RFC 6265 §4.2).

use http::{HeaderMap, header};

/// The value of a cookie: the first of that name. None where the request has no such cookie.
#[must_use]
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(header::COOKIE).iter().find_map(|line| {
        line.to_str().ok()?.split(';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key.trim() == name).then(|| value.trim())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_is_found_in_any_line() {
        let mut headers = HeaderMap::new();
        for line in ["a=1; b = 2", "nonsense; c=x=y; a=3"] {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        let found = ["a", "b", "c", "A", "nonsense"].map(|name| find(&headers, name));
        assert_eq!(found, [Some("1"), Some("2"), Some("x=y"), None, None]);
    }
}
