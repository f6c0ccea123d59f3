pub const TESTS: &[crate::Test] = &[];
pub fn is_helper() -> bool {
    false
}
pub fn help() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
