//! Rendering: walks programs over values.

use std::time::Duration;

use super::function::FuncError;
use super::value::{Dict, DictKind, Value};

/// What a rendering asks of the world; functions reach it through [`Ctx::env`].
pub trait Host: Sync {
    /// Answers a function that depends on the world: `lookup`, `env`, `getHostByName`, `werf_secret_file`.
    fn call(&self, function: &str, args: &[Value]) -> Result<Value, FuncError>;

    /// Fills a buffer with random bytes.
    fn random(&self, buffer: &mut [u8]);
}

/// A host without a world: `lookup` finds nothing, randomness repeats.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn call(&self, function: &str, _args: &[Value]) -> Result<Value, FuncError> {
        match function {
            "lookup" => Ok(Value::Dict(std::rc::Rc::new(Dict::new(DictKind::Any)))),
            "getHostByName" => Ok(Value::str("")),
            _ => Err(FuncError::new(format!("{function} is not available here"))),
        }
    }

    fn random(&self, buffer: &mut [u8]) {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for byte in buffer {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
}

/// The inputs of a rendering besides templates and data.
#[derive(Clone, Copy)]
pub struct RenderEnv<'e> {
    /// Answers what the engine cannot know.
    pub host: &'e dyn Host,
    /// The time that `now` tells. Unit: since the Unix epoch, UTC.
    pub now: Duration,
}

impl Default for RenderEnv<'_> {
    fn default() -> Self {
        Self { host: &NoHost, now: Duration::ZERO }
    }
}

/// One rendering, as functions see it.
pub struct Ctx<'r> {
    /// The inputs.
    pub env: RenderEnv<'r>,
}
