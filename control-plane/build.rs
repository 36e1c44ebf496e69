//! Builds again when a migration is added: they are embedded, and the compiler cannot see a new file.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
