//! What a panic says, and what it means: libtorch's own errors come as panics.

use std::any::Any;

/// A panic, as its payload tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    /// What it said: the first line, since libtorch's errors go on with a stack.
    pub line: String,
    /// What it means.
    pub cause: Cause,
}

/// What a panic means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There is no memory for what was tried; something smaller may work.
    Memory,
    /// The device is broken; the process has to be started again.
    Device,
    /// A defect of retouch.
    Defect,
}

impl Panic {
    /// What the payload of a panic says.
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
        // tch prints an error of libtorch with its line ends escaped.
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
