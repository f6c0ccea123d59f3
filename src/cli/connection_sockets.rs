//! The options of the kinds of port that have a socket of their own: one each, as
//! [`CONNECTION_KINDS`] lists them.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, FromArgMatches, value_parser};

use crate::port::{CONNECTION_KINDS, ConnectionKind};

/// The kinds that are to be served, and where.
#[derive(Clone, Debug, Default)]
pub struct ConnectionSockets(pub Vec<(&'static ConnectionKind, PathBuf)>);

impl clap::Args for ConnectionSockets {
    fn augment_args(command: Command) -> Command {
        let option = |kind: &ConnectionKind| {
            Arg::new(kind.name)
                .long(kind.name)
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help(kind.help)
        };
        command.args(CONNECTION_KINDS.iter().map(option))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConnectionSockets {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let path = |kind: &'static ConnectionKind| {
            matches.get_one::<PathBuf>(kind.name).map(|path| (kind, path.clone()))
        };
        Ok(ConnectionSockets(CONNECTION_KINDS.iter().filter_map(path).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
