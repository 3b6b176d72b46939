mod cli; mod failure; mod documents; mod table;
fn main() {}
