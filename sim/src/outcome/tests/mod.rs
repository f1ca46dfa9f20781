//! Laws of every form that a result takes; no form's bytes are written down here.

mod forms;
mod hostile;
mod json;
mod pages;
mod sample;
mod settings;
