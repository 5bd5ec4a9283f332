//! Classification of panics: libtorch reports its errors through them.

use std::any::Any;

/// A panic, from its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    /// First line of its message; libtorch's errors continue with a stack trace.
    pub line: String,
    /// Its cause.
    pub cause: Cause,
}

/// Cause of a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Out of memory; a smaller job may succeed.
    Memory,
    /// The device is unusable; the process has to be restarted.
    Device,
    /// A defect of retouch.
    Defect,
}

impl Panic {
    /// Classifies the payload of a panic.
    pub fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("unknown");
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let cause = if has(&[
            "out of memory",
            "DefaultCPUAllocator: can't allocate",
            "not enough memory",
        ]) {
            Cause::Memory
        } else if has(&["CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "device-side assert"]) {
            Cause::Device
        } else {
            Cause::Defect
        };
        // tch escapes the line ends in libtorch's messages.
        let end = ["\n", "\\n"].into_iter().filter_map(|end| text.find(end)).min();
        Self { line: text[..end.unwrap_or(text.len())].to_owned(), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_first_line_whatever_it_carries() {
        let torch =
            r#"called `Result::unwrap()` on an `Err` value: Torch("expected 4D\nframe #0: x")"#;
        let cases: [(Box<dyn Any + Send>, &str); 4] = [
            (Box::new("as asked"), "as asked"),
            (Box::new("one\ntwo".to_owned()), "one"),
            (Box::new(torch.to_owned()), torch.split("\\n").next().unwrap()),
            (Box::new(7), "unknown"),
        ];
        for (payload, expected) in cases {
            assert_eq!(Panic::of(payload.as_ref()).line, expected);
        }
    }

    #[test]
    fn want_of_memory_and_broken_devices_are_no_defects() {
        for (text, cause) in [
            ("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", Cause::Memory),
            ("CUDA out of memory. Tried to allocate 2 GiB", Cause::Memory),
            ("it failed\nCUDA error: device-side assert triggered", Cause::Device),
            ("index out of bounds", Cause::Defect),
        ] {
            assert_eq!(Panic::of(&text.to_owned()).cause, cause, "{text}");
        }
    }
}
