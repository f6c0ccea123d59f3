//! libpcap, loaded when it is first asked for: building the switch needs no headers of it, and
//! running it needs no libpcap unless a filter is to be compiled.
//!
//! Not for the process that serves guests: a compilation takes as long as the expression and the
//! host's name service want, and a fault in libpcap would end the network of all.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::slice;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::mirror::MAX_SNAPLEN;
use crate::mirror::bpf::{Instruction, Program};

/// Why an expression could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// There is no libpcap on this host, or none that can be used.
    #[error(
        "filters need libpcap: install the package libpcap0.8 (Debian, Ubuntu) or libpcap (Fedora, Arch)"
    )]
    NoLibpcap(#[source] &'static libloading::Error),
    /// The expression is not one that libpcap understands; in its own words.
    #[error("{0}")]
    Refused(String),
    /// A C string cannot have a NUL inside.
    #[error("there is a NUL character in it")]
    Nul,
    /// libpcap could not make a handle.
    #[error("libpcap has no memory left")]
    NoMemory,
}

/// Compiles an expression such as `udp port 27015`, in the language of `pcap-filter(7)`, for
/// Ethernet frames that are whole.
///
/// Names of hosts are looked up, which may take long. One thread at a time compiles.
///
/// # Errors
/// See [`CompileError`].
pub fn compile(expression: &str) -> Result<Vec<Instruction>, CompileError> {
    let library = LIBRARY.as_ref().map_err(CompileError::NoLibpcap)?;
    let expression = CString::new(expression).map_err(|_| CompileError::Nul)?;
    // Before 1.8 libpcap kept the parser's state in variables of the process.
    let _one_at_a_time = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    let handle = Handle::open(library).ok_or(CompileError::NoMemory)?;
    handle.compile(&expression)
}

/// What libpcap's own interpreter makes of `frame`: the measure for ours, in tests.
///
/// # Errors
/// [`CompileError::NoLibpcap`].
pub fn run(program: &Program, frame: &[u8]) -> Result<u32, CompileError> {
    let library = LIBRARY.as_ref().map_err(CompileError::NoLibpcap)?;
    let mut instructions: Vec<_> = program.as_ref().iter().copied().map(BpfInsn::from).collect();
    let program =
        BpfProgram { bf_len: instructions.len() as c_uint, bf_insns: instructions.as_mut_ptr() };
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let header =
        PcapPkthdr { ts: libc::timeval { tv_sec: 0, tv_usec: 0 }, caplen: length, len: length };
    // SAFETY: the instructions, the header and the frame live until the call has returned, which
    // only reads them, and no more of the frame than `caplen`. A `Program` was checked: it ends,
    // and has no code that libpcap does not know.
    let kept =
        unsafe { (library.offline_filter)(&raw const program, &raw const header, frame.as_ptr()) };
    Ok(kept.cast_unsigned())
}

/// Functions of libpcap, and the library that they stay in: it is never unloaded.
struct Library {
    open_dead: unsafe extern "C" fn(c_int, c_int) -> *mut c_void,
    compile: unsafe extern "C" fn(*mut c_void, *mut BpfProgram, *const c_char, c_int, u32) -> c_int,
    geterr: unsafe extern "C" fn(*mut c_void) -> *mut c_char,
    freecode: unsafe extern "C" fn(*mut BpfProgram),
    close: unsafe extern "C" fn(*mut c_void),
    offline_filter: unsafe extern "C" fn(*const BpfProgram, *const PcapPkthdr, *const u8) -> c_int,
    _library: libloading::Library,
}

static LIBRARY: LazyLock<Result<Library, libloading::Error>> = LazyLock::new(Library::load);
static COMPILING: Mutex<()> = Mutex::new(());

impl Library {
    fn load() -> Result<Self, libloading::Error> {
        /// A function by its name.
        macro_rules! function {
            ($library:ident, $name:literal) => {
                // SAFETY: the type of the field that it is for is the function's in `pcap/pcap.h`,
                // where it has not changed since libpcap 0.8.
                *unsafe { $library.get($name) }?
            };
        }

        let library = open_first_of(NAMES)?;
        Ok(Library {
            open_dead: function!(library, "pcap_open_dead"),
            compile: function!(library, "pcap_compile"),
            geterr: function!(library, "pcap_geterr"),
            freecode: function!(library, "pcap_freecode"),
            close: function!(library, "pcap_close"),
            offline_filter: function!(library, "pcap_offline_filter"),
            _library: library,
        })
    }
}

/// The first library that can be had; else why not, said of the first name.
fn open_first_of(names: [&str; 3]) -> Result<libloading::Library, libloading::Error> {
    // SAFETY: libpcap and the libraries that it needs do nothing in their initialisers that asks
    // anything of us, and are not unloaded before the process ends.
    let [first, second, third] =
        names.map(|name| move || unsafe { libloading::Library::new(name) });
    first().or_else(|error| second().or_else(|_| third()).map_err(|_| error))
}

/// A handle of libpcap that is not open for anything but compiling. Closed when dropped.
struct Handle<'a> {
    library: &'a Library,
    pcap: *mut c_void,
}

impl<'a> Handle<'a> {
    fn open(library: &'a Library) -> Option<Self> {
        // SAFETY: it takes two numbers, and returns NULL or a handle that is ours to close.
        let pcap = unsafe { (library.open_dead)(DLT_EN10MB, MAX_SNAPLEN.cast_signed()) };
        (!pcap.is_null()).then_some(Handle { library, pcap })
    }

    fn compile(&self, expression: &CStr) -> Result<Vec<Instruction>, CompileError> {
        let mut program = BpfProgram { bf_len: 0, bf_insns: ptr::null_mut() };
        // SAFETY: the handle is open, nobody else uses it, and the expression ends with a NUL; the
        // program is written to and both are not touched any more when the call has returned.
        let result = unsafe {
            (self.library.compile)(
                self.pcap,
                &raw mut program,
                expression.as_ptr(),
                OPTIMISE,
                PCAP_NETMASK_UNKNOWN,
            )
        };
        if result != 0 {
            return Err(CompileError::Refused(self.last_error()));
        }
        // SAFETY: after success `bf_insns` points to `bf_len` instructions (at least the return),
        // which nobody changes until they are freed below.
        let compiled = unsafe { slice::from_raw_parts(program.bf_insns, program.bf_len as usize) };
        let instructions = compiled.iter().map(|&instruction| instruction.into()).collect();
        // SAFETY: the program is what `pcap_compile` wrote, and is not used after this.
        unsafe { (self.library.freecode)(&raw mut program) };
        Ok(instructions)
    }

    fn last_error(&self) -> String {
        // SAFETY: the handle is open; the text is inside it.
        let text = unsafe { (self.library.geterr)(self.pcap) };
        // SAFETY: libpcap keeps the text terminated, and nobody uses the handle meanwhile.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and this is the last that is done with it.
        unsafe { (self.library.close)(self.pcap) };
    }
}

/// `struct bpf_program` of `pcap/bpf.h`.
#[repr(C)]
struct BpfProgram {
    bf_len: c_uint,
    bf_insns: *mut BpfInsn,
}

/// `struct bpf_insn` of `pcap/bpf.h`.
#[derive(Clone, Copy)]
#[repr(C)]
struct BpfInsn {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

const _: () = assert!(size_of::<BpfInsn>() == 8);

impl From<Instruction> for BpfInsn {
    fn from(Instruction(code, jt, jf, k): Instruction) -> Self {
        BpfInsn { code, jt, jf, k }
    }
}

impl From<BpfInsn> for Instruction {
    fn from(BpfInsn { code, jt, jf, k }: BpfInsn) -> Self {
        Instruction(code, jt, jf, k)
    }
}

/// `struct pcap_pkthdr` of `pcap/pcap.h`.
#[repr(C)]
struct PcapPkthdr {
    ts: libc::timeval,
    caplen: u32,
    len: u32,
}

/// Debian's name for it, everybody else's, and that of its development package.
const NAMES: [&str; 3] = ["libpcap.so.0.8", "libpcap.so.1", "libpcap.so"];

/// Ethernet, in `pcap/dlt.h`.
const DLT_EN10MB: c_int = 1;
/// `pcap_compile(3PCAP)`: "whether optimization on the resulting code is performed".
const OPTIMISE: c_int = 1;
/// `pcap_compile(3PCAP)`, for networks whose netmask nobody knows: only `ip broadcast` asks for it.
const PCAP_NETMASK_UNKNOWN: u32 = 0xffff_ffff;

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn without_a_libpcap_the_error_says_what_to_install() {
        let missing = open_first_of(["libpcap-that-is-not.so.1", "libpcap-nor-this.so", "no.so"]);
        let missing = Box::leak(Box::new(missing.expect_err("no such library")));
        let why = missing.source().map(ToString::to_string).unwrap_or_default();
        assert!(why.contains("libpcap-that-is-not.so.1"), "{why}");
        let error = CompileError::NoLibpcap(missing).to_string();
        assert!(error.contains("libpcap0.8 (Debian, Ubuntu)"), "{error}");
    }
}
