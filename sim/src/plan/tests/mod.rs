mod faults;
mod hostile;
mod laws;
mod presets;
mod table;
