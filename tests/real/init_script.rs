pub const TESTS: &[crate::Test] = &[];
pub const SCRIPT: &str = "/etc/init.d/uml-utilities";
