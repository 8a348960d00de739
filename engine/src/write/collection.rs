//! Entities of one type as values of one Rust type.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use heirloom_core::format::serde::{content_from, to_content};
use heirloom_core::model::{Content, EntityId, VersionRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::carry::Glass;
use super::outcome::Outcome;
use super::transaction::Transaction;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::read::{Entity, Query, Snapshot};

/// How many entities an iteration reads at a time.
const PAGE: usize = 256;

/// All entities of a type, read and written as a serde type. Cheap to clone. Each call is a
/// transaction, or a snapshot, of its own; for several changes at once there are
/// [`Transaction::update`] and [`Transaction::save`].
///
/// A read-modify-write touches only what the Rust type knows and the caller changed: fields that a
/// newer version of the application added survive, and so do conflicts on other fields.
/// What is missing or of another type behaves as serde says: `#[serde(default)]` fills in, else it
/// is [`Error::Misfit`], which names the field and who wrote it.
///
/// What the type does not know stays: fields of a newer release, also in items of a list that were
/// left alone (an item that was changed is written as the type writes it; what a newer release had
/// in it is told by [`Snapshot::losses`]), and the kind of a value that the type reads as another
/// (bytes as `Vec<u8>`, a timestamp as `i64`). A field that the type reads under another name
/// (`#[serde(alias)]`) has its new name after the first update that changes anything.
///
/// Before anything is written it is read back: what the type would not read as it was is refused,
/// [`Error::Invalid`] with the path of the field.
///
/// **Enums, structs and merges.** Fields of a struct or a map in a field merge one by one. One
/// value are: lists and tuples; variants of enums that carry something (serde's default form), see
/// [`Variant`](crate::Variant); `Duration`, `SystemTime`, ranges; and whatever is said to be so
/// with [`atomic`](crate::atomic). Enums under `#[serde(tag = …)]`, with or without `content`, and
/// `#[serde(untagged)]` ones whose variants are structs, come to the store as structs: they merge
/// field by field, and one device's tag may meet another's fields. Write such fields
/// `#[serde(with = "heirloom::atomic")]`, or use serde's default form.
///
/// ```
/// use heirloom::Engine;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Lamp { name: String, #[serde(default)] brightness: u8 }
///
/// let engine = Engine::in_memory()?;
/// let lamps = engine.collection::<Lamp>("lamp");
/// let desk = lamps.create(&Lamp { name: "desk".into(), brightness: 40 })?;
/// lamps.update(desk, |lamp| lamp.brightness = 80)?;
/// assert_eq!(lamps.get(desk)?.expect("it was created").brightness, 80);
///
/// // a form that somebody edits for a while
/// let mut form = lamps.get(desk)?.expect("it was created");
/// lamps.update(desk, |lamp| lamp.brightness = 10)?;
/// form.name = "bed".into();
/// lamps.save(&mut form)?;
/// let lamp = lamps.get(desk)?.expect("it was created");
/// assert_eq!((lamp.name.as_str(), lamp.brightness), ("bed", 10));
///
/// for lamp in lamps.iter()? {
///     println!("{}", lamp?.name);
/// }
/// lamps.delete(desk)?;
/// assert!(lamps.get(desk)?.is_none());
/// # Ok::<(), heirloom::Error>(())
/// ```
pub struct Collection<T> {
    engine: Engine,
    entity_type: Arc<str>,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), entity_type: self.entity_type.clone(), of: PhantomData }
    }
}

impl<T> std::fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Collection").field(&self.entity_type).finish()
    }
}

/// An entity that was read as a `T`: change it in place and [`save`](Collection::save) it.
#[derive(Clone, Debug)]
pub struct Document<T> {
    entity: Entity,
    value: T,
    /// What would be written of it before anybody could change it. Read again it might differ: a
    /// hash set has no order, a default may be the time. Nothing where it cannot be written.
    before: Option<Content>,
}

impl<T> Document<T> {
    /// Its id.
    pub fn id(&self) -> EntityId {
        self.entity.id()
    }

    /// The entity as it was read: heads, conflicts, fields that `T` does not know.
    pub fn entity(&self) -> &Entity {
        &self.entity
    }

    /// The value alone.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> Deref for Document<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Document<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Serialize + DeserializeOwned> Document<T> {
    /// Reads an entity as a `T`, and notes what would be written of it, so that
    /// [`save`](Collection::save) knows what was changed, be it inside a `Cell`.
    /// [`Error::Misfit`] if it does not fit, [`Error::Deleted`].
    pub fn read(entity: Entity) -> Result<Self> {
        let value = entity.read()?;
        let before = content_from(&value).ok();
        Ok(Self { entity, value, before })
    }

    /// What is there with what was changed of it; nothing if nothing was.
    fn made(&self) -> Result<Option<Content>> {
        let now = to_content(&self.value)?;
        Glass::of::<T>().carry(&self.entity.0.shown.leaves(), &*self.before()?, now)
    }

    fn before(&self) -> Result<Cow<'_, Content>> {
        match &self.before {
            Some(before) => Ok(Cow::Borrowed(before)),
            // it could not be written when it was read
            None => Ok(Cow::Owned(to_content(&self.entity.read::<T>()?)?)),
        }
    }
}

impl Engine {
    /// All entities of a type as values of a serde type. Owned types only: one that borrows, as a
    /// field of type `&str` does, does not compile; use `String`.
    pub fn collection<T: Serialize + DeserializeOwned>(&self, entity_type: &str) -> Collection<T> {
        Collection { engine: self.clone(), entity_type: entity_type.into(), of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Collection<T> {
    /// Their entity type.
    pub fn entity_type(&self) -> &str {
        &self.entity_type
    }

    /// Brings an entity into being and returns its id. [`Error::Invalid`] if `T` would not read
    /// back what it writes, with the field; else errors as for [`Engine::write`].
    pub fn create(&self, value: &T) -> Result<EntityId> {
        let content = self.checked(value)?;
        self.engine.write(|tx| tx.create(&self.entity_type, &content))
    }

    /// Creates an entity of this type under an id that the application chose. [`Error::Exists`] if
    /// it is here.
    pub fn create_with_id(&self, id: EntityId, value: &T) -> Result<()> {
        let content = self.checked(value)?;
        self.engine.write(|tx| tx.create_with_id(id, &self.entity_type, &content))
    }

    fn checked(&self, value: &T) -> Result<Content> {
        let content = to_content(value)?;
        Glass::of::<T>().check_new(&content)?;
        Ok(content)
    }

    /// An entity as it is now; nothing if it is unknown or deleted. [`Error::OtherType`] if it is
    /// of another type, [`Error::Misfit`] if it does not fit `T`.
    pub fn get(&self, id: EntityId) -> Result<Option<Document<T>>> {
        self.get_in(&self.engine.snapshot()?, id)
    }

    /// An entity as a snapshot shows it; nothing where it is unknown or deleted there.
    pub fn get_in(&self, snapshot: &Snapshot, id: EntityId) -> Result<Option<Document<T>>> {
        let Some(entity) = snapshot.get(id)? else { return Ok(None) };
        self.check_type(id, entity.entity_type())?;
        Document::read(entity).map(Some)
    }

    /// Changes an entity: what the closure changed is written on what is there now, in one
    /// transaction, so nothing can come between. If the closure returns an error nothing is
    /// written; else returns what it has in `Ok`.
    ///
    /// ```
    /// # use heirloom::{Engine, Error};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Account { cents: i64 }
    /// # let engine = Engine::in_memory()?;
    /// let accounts = engine.collection::<Account>("account");
    /// let ada = accounts.create(&Account { cents: 500 })?;
    /// let refused = accounts.update(ada, |account| {
    ///     account.cents -= 800;
    ///     if account.cents < 0 {
    ///         Err(Error::Cancelled)
    ///     } else {
    ///         Ok(())
    ///     }
    /// });
    /// assert!(refused.is_err());
    /// assert_eq!(accounts.get(ada)?.expect("it was created").cents, 500);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::NotFound`], [`Error::Deleted`]; [`Error::OtherType`] and [`Error::Misfit`] as for
    /// [`get`](Self::get), for which [`update_from`](Self::update_from) is the way out.
    pub fn update<R: Outcome>(
        &self,
        id: EntityId,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R::Value, R::Error> {
        self.engine.write(|tx| {
            self.check_type_of(tx, id)?;
            tx.update(id, change)
        })
    }

    /// Changes an entity from what one of its versions says, whatever is shown now: the way out
    /// where that does not fit `T`. What the closure makes of that version is written as a whole,
    /// and settles all that is in conflict.
    ///
    /// ```
    /// # use heirloom::{Engine, Error, Patch};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Serialize, Deserialize)]
    /// struct Lamp { name: String, brightness: u8 }
    ///
    /// let engine = Engine::in_memory()?;
    /// let lamps = engine.collection::<Lamp>("lamp");
    /// let desk = lamps.create(&Lamp { name: "desk".into(), brightness: 40 })?;
    /// let good = engine.snapshot()?.heads(desk)?[0].reference();
    /// engine.write(|tx| tx.patch(desk, Patch::new().set("brightness", "dim")))?;
    ///
    /// let Err(Error::Misfit(misfit)) = lamps.get(desk) else { panic!("dim is no number") };
    /// assert_eq!(misfit.field, "brightness");
    /// lamps.update_from(desk, &good, |lamp| lamp.brightness = 10)?;
    /// assert_eq!(lamps.get(desk)?.expect("it was created").brightness, 10);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::Misfit`] if that version does not fit either; [`Error::Deleted`] if nothing lives
    /// ([`restore`](Self::restore) it); else errors as for [`Transaction::restore`].
    pub fn update_from<R: Outcome>(
        &self,
        id: EntityId,
        version: &VersionRef,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R::Value, R::Error> {
        self.engine.write(|tx| {
            self.check_type_of(tx, id)?;
            tx.update_from(id, version, change)
        })
    }

    /// Writes back a document that was read earlier: only what was changed in it.
    /// [`Error::Stale`] if somebody else changed the same fields since, or deleted it; then, and
    /// after any other error, the document is as it was.
    ///
    /// What was written refreshes the document: it is as if it had been read after this write, with
    /// what others changed in other fields meanwhile, and can be changed and saved again. Where
    /// what others wrote does not fit `T`, or is a deletion, the document stays as it was read:
    /// read it again before changing it further.
    pub fn save(&self, document: &mut Document<T>) -> Result<()> {
        self.check_type(document.id(), document.entity.entity_type())?;
        self.engine.write(|tx| tx.save(document))?;
        // what is written stays written, whatever comes of reading it again
        if let Ok(Some(now)) = self.get(document.id()) {
            *document = now;
        }
        Ok(())
    }

    /// Deletes an entity. [`Error::NotFound`], [`Error::Deleted`], [`Error::OtherType`] if it is of
    /// another type.
    pub fn delete(&self, id: EntityId) -> Result<()> {
        self.engine.write(|tx| {
            self.check_type_of(tx, id)?;
            tx.delete(id)
        })
    }

    /// Brings back what it was at a version. Errors as for [`Transaction::restore`];
    /// [`Error::OtherType`] also if it is of another type.
    pub fn restore(&self, id: EntityId, version: &VersionRef) -> Result<()> {
        self.engine.write(|tx| {
            self.check_type_of(tx, id)?;
            tx.restore(id, version)
        })
    }

    /// All of them in order of their ids, as they are now: one snapshot, which lives as long as the
    /// iterator. One that does not fit `T`, or cannot be shown, is an error in its place, and the
    /// next follows.
    pub fn iter(&self) -> Result<Documents<T>> {
        Ok(self.iter_in(&self.engine.snapshot()?))
    }

    /// All entities of this type as a snapshot shows them, in order of their ids.
    pub fn iter_in(&self, snapshot: &Snapshot) -> Documents<T> {
        Documents {
            snapshot: snapshot.clone(),
            entity_type: self.entity_type.clone(),
            page: Vec::new().into_iter(),
            after: None,
            done: false,
            of: PhantomData,
        }
    }

    /// Those of a snapshot by the value of an indexed field: see [`Query`].
    ///
    /// ```
    /// # use heirloom::Engine;
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Serialize, Deserialize)]
    /// struct Lamp { name: String, brightness: u8 }
    ///
    /// let engine = Engine::builder().index("lamp", "brightness").in_memory()?;
    /// let lamps = engine.collection::<Lamp>("lamp");
    /// lamps.create(&Lamp { name: "desk".into(), brightness: 40 })?;
    /// lamps.create(&Lamp { name: "hall".into(), brightness: 90 })?;
    ///
    /// let snapshot = engine.snapshot()?;
    /// let bright = lamps.query(&snapshot, "brightness")?.at_least(50).documents::<Lamp>();
    /// let names = bright
    ///     .map(|lamp| Ok(lamp?.into_value().name))
    ///     .collect::<heirloom::Result<Vec<_>>>()?;
    /// assert_eq!(names, ["hall"]);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::NoIndex`] unless the field was declared with
    /// [`Builder::index`](crate::Builder::index).
    pub fn query<'s>(&self, snapshot: &'s Snapshot, field: &str) -> Result<Query<'s>> {
        snapshot.query(&self.entity_type, field)
    }

    fn check_type_of(&self, tx: &Transaction<'_>, id: EntityId) -> Result<()> {
        tx.type_of(id)?.map_or(Ok(()), |found| self.check_type(id, &found))
    }

    fn check_type(&self, id: EntityId, found: &str) -> Result<()> {
        if found == &*self.entity_type {
            return Ok(());
        }
        let wanted = &self.entity_type;
        Err(Error::OtherType { entity: id, found: found.to_string(), wanted: wanted.to_string() })
    }
}

/// All documents of a [`Collection`] in one snapshot.
pub struct Documents<T> {
    snapshot: Snapshot,
    entity_type: Arc<str>,
    page: std::vec::IntoIter<(EntityId, Result<Entity>)>,
    after: Option<EntityId>,
    done: bool,
    of: PhantomData<fn() -> T>,
}

impl<T> Documents<T> {
    fn next_entity(&mut self) -> Result<Option<Result<Entity>>> {
        if let Some((_, entity)) = self.page.next() {
            return Ok(Some(entity));
        }
        if self.done {
            return Ok(None);
        }
        let mut listing = self.snapshot.list(&self.entity_type).limit(PAGE);
        if let Some(after) = self.after {
            listing = listing.after(after);
        }
        let page = listing.read()?.collect::<Result<Vec<_>>>()?;
        self.done = page.len() < PAGE;
        self.after = page.last().map(|(id, _)| *id);
        self.page = page.into_iter();
        Ok(self.page.next().map(|(_, entity)| entity))
    }
}

impl<T: Serialize + DeserializeOwned> Iterator for Documents<T> {
    type Item = Result<Document<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_entity() {
            Ok(entity) => entity.map(|entity| Document::read(entity?)),
            Err(e) => {
                self.done = true;
                Some(Err(e))
            }
        }
    }
}

impl<'a> Query<'a> {
    /// Reads the hits one by one as a serde type. One that does not fit is [`Error::Misfit`] in its
    /// place.
    pub fn documents<T: Serialize + DeserializeOwned>(
        self,
    ) -> impl Iterator<Item = Result<Document<T>>> + use<'a, T> {
        self.into_iter().map(|entity| Document::read(entity?))
    }
}

impl Transaction<'_> {
    /// Changes an entity as a serde type: what the closure changed of what the type knows, and
    /// nothing else. If the closure returns an error it changes nothing; else returns what it
    /// has in `Ok`.
    ///
    /// ```
    /// # use heirloom::Engine;
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Serialize, Deserialize)]
    /// struct Account { cents: i64 }
    ///
    /// # let engine = Engine::in_memory()?;
    /// let accounts = engine.collection::<Account>("account");
    /// let ada = accounts.create(&Account { cents: 500 })?;
    /// let ben = accounts.create(&Account { cents: 0 })?;
    /// engine.write(|tx| {
    ///     tx.update(ada, |a: &mut Account| a.cents -= 200)?;
    ///     tx.update(ben, |b: &mut Account| b.cents += 200)
    /// })?;
    /// assert_eq!(accounts.get(ada)?.unwrap().cents, 300);
    /// assert_eq!(accounts.get(ben)?.unwrap().cents, 200);
    /// # Ok::<(), heirloom::Error>(())
    /// ```
    ///
    /// [`Error::NotFound`], [`Error::Deleted`]; [`Error::Misfit`] if the entity does not fit the
    /// type; [`Error::Invalid`] if the type would not read back what it writes.
    pub fn update<T: Serialize + DeserializeOwned, R: Outcome>(
        &mut self,
        id: EntityId,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R::Value, R::Error> {
        let Some(entity) = self.get(id)? else { return Err(self.gone(id)?.into()) };
        let mut document =
            Document::read(entity.clone()).map_err(|e| self.explained(e, &entity))?;
        let out = change(&mut document).into_result()?;
        self.save(&document)?;
        Ok(out)
    }

    /// Changes an entity from what one of its versions says, whatever is shown now, as a whole:
    /// see [`Collection::update_from`]. It takes the place of what this transaction changed of the
    /// entity before.
    pub fn update_from<T: Serialize + DeserializeOwned, R: Outcome>(
        &mut self,
        id: EntityId,
        version: &VersionRef,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R::Value, R::Error> {
        self.rewrite(id, version, |entity| {
            let mut document = Document::read(entity.clone())?;
            let out = change(&mut document).into_result()?;
            Ok((out, document.made()?))
        })
    }

    /// Writes back a document that was read earlier: only what was changed in it since, of what its
    /// type knows. If nothing was changed nothing is written. Errors as for
    /// [`put`](Self::put). The document stays as it was read: once the transaction is done, read it
    /// again before changing it further, or use [`Collection::save`], which refreshes it.
    pub fn save<T: Serialize + DeserializeOwned>(&mut self, document: &Document<T>) -> Result<()> {
        let now = to_content(&document.value)?;
        self.put_carried(&document.entity, Glass::of::<T>(), &*document.before()?, now)
    }
}
