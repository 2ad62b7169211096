//! What rooms remember of hot rows between operations, each in a type of its own. Only ever a copy of what is in the
//! database at the end of an operation: a failed one drops it all.

use std::any::{Any, TypeId};
use std::collections::HashMap;

/// A value of each type, made when it is first asked for.
#[derive(Default)]
pub(in crate::store) struct Cache(HashMap<TypeId, Box<dyn Any + Send>>);

impl Cache {
    /// The one value of this type.
    pub fn of<T: Any + Send + Default>(&mut self) -> &mut T {
        let slot = self.0.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(T::default()));
        match slot.downcast_mut() {
            Some(value) => value,
            None => unreachable!("made above with this type"),
        }
    }
}
