//! What Wireshark knows as an interface.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A port of a switch, or all of them: `uml_switch:3:/tmp/uml.ctl.admin`, and `all` for the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Its number; `None` for every frame of the switch.
    pub(crate) port: Option<u32>,
    /// The switch's admin socket.
    pub(crate) admin: PathBuf,
}

/// A text is no [`Interface`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no interface of a switch: want {PREFIX}PORT:PATH, with the path of an admin socket"
)]
pub(crate) struct NoInterface(String);

impl Interface {
    /// Whether the name gets through Wireshark's grammar as it is.
    pub(crate) fn can_be_named(&self) -> bool {
        self.admin.to_str().is_some_and(|path| plain(path) == path)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        match self.port {
            Some(number) => write!(f, "{number}")?,
            None => f.write_str(ALL)?,
        }
        write!(f, ":{}", self.admin.display())
    }
}

impl FromStr for Interface {
    type Err = NoInterface;

    fn from_str(text: &str) -> Result<Self, NoInterface> {
        let parts = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':'));
        let port = parts.and_then(|(port, _)| match port {
            ALL => Some(None),
            number => number.parse().ok().map(Some),
        });
        match (port, parts) {
            (Some(port), Some((_, path))) if !path.is_empty() => {
                Ok(Interface { port, admin: path.into() })
            }
            _ => Err(NoInterface(text.to_owned())),
        }
    }
}

/// The text without what has a meaning in the grammar of extcap(4), or to a terminal.
pub(crate) fn plain(text: &str) -> String {
    let replace = |c: char| if c.is_control() || matches!(c, '{' | '}') { '_' } else { c };
    text.chars().map(replace).collect()
}

const PREFIX: &str = "uml_switch:";

const ALL: &str = "all";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_what_they_name() {
        for name in ["uml_switch:3:/tmp/uml.ctl.admin", "uml_switch:all:/a:b/c d", "uml_switch:0:x"]
        {
            let interface: Interface = name.parse().unwrap();
            assert_eq!(interface.to_string(), name);
            assert!(interface.can_be_named());
        }
        for name in ["", "eth0", "uml_switch:", "uml_switch:3", "uml_switch:3:", "uml_switch:-1:/x"]
        {
            assert!(name.parse::<Interface>().is_err(), "{name}");
        }
    }

    #[test]
    fn nothing_of_a_name_gets_out_of_its_braces() {
        assert_eq!(plain("port}{value=evil\x1b[2J"), "port__value=evil_[2J");
        let interface = Interface { port: None, admin: "/tmp/}{.admin".into() };
        assert!(!interface.can_be_named());
    }
}
