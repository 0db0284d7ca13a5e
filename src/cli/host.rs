//! What templates may ask of the world.

use crate::eval::{FuncError, Host, NoHost, Value};

/// A host without a cluster: `lookup` finds nothing. Randomness is real: a generated password must not be guessable.
pub struct ProcessHost;

impl Host for ProcessHost {
    fn call(&self, function: &str, args: &[Value]) -> Result<Value, FuncError> {
        NoHost.call(function, args)
    }

    fn random(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system has random bytes");
    }
}
