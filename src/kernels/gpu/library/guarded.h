// The C interface of a library that is opened at run time by `mod.rs`.
//
// Every function returns null, or what went wrong: text that is valid until the thread's next call. No exception leaves it.

#pragma once

#include <exception>
#include <string>

#include <c10/util/Exception.h>

template <typename Work>
const char* guarded(Work work) noexcept {
  thread_local std::string message;
  try {
    work();
    return nullptr;
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "an exception of an unknown kind";
  }
  return message.c_str();
}
