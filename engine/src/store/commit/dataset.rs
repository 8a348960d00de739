//! Which dataset a store belongs to, and its name among peers.

use heirloom_core::model::{Dataset, DatasetId, NodeId, Sequence};

use super::log_writer::LogWriter;
use super::store::Store;
use crate::error::{Error, Result, Table};
use crate::store::read::View;
use crate::store::rows::{DATASET, NODE, Tables};

impl Store {
    pub(crate) fn read_dataset(&self, tables: &Tables) -> Result<Option<Dataset>> {
        let Some(bytes) = self.meta(tables, DATASET)? else { return Ok(None) };
        let wrong = || Error::corrupt(Table::Meta, DATASET, "not a dataset");
        let (id, name) = bytes.split_first_chunk().ok_or_else(wrong)?;
        let name = std::str::from_utf8(name).map_err(|_| wrong())?;
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        Ok(Some(Dataset { id: DatasetId::from_bytes(*id), name }))
    }

    /// With its name, if that is known.
    pub(crate) fn named(&self, id: DatasetId) -> Dataset {
        let name = self.dataset_name.as_deref().filter(|name| DatasetId::from_name(name) == id);
        Dataset { id, name: name.map(str::to_owned) }
    }

    /// The dataset, once it is settled.
    pub(crate) fn dataset(&self) -> Option<DatasetId> {
        self.known().dataset
    }

    pub(crate) fn agree_on_dataset(
        &mut self,
        wanted: Option<DatasetId>,
        name: Option<String>,
    ) -> Result<()> {
        let ours = self.dataset();
        if let (Some(ours), Some(id)) = (ours, wanted)
            && ours != id
            && !is_empty(&self.view(&*self.tables()?))?
        {
            return Err(Error::WrongDataset {
                ours: self.named(ours),
                theirs: Dataset { id, name },
            });
        }
        let is_new = name.is_some() && name.as_deref() != self.dataset_name.as_deref();
        self.dataset_name = name.map(Into::into).or(self.dataset_name.take());
        self.writer.get_mut().dataset_name = self.dataset_name.clone();
        match wanted {
            _ if self.read_only => Ok(()),
            Some(wanted) if ours != Some(wanted) => self.set_dataset(wanted),
            // goes along with the next commit
            Some(same) if is_new => {
                self.writer.get_mut().name_dataset(same);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Its name among peers; drawn, for good, the first time that somebody asks. Where nothing may
    /// change, for as long as it is open.
    pub(crate) fn node(&self, draw: &dyn Fn() -> [u8; 16]) -> Result<NodeId> {
        if let Some(node) = self.known().node {
            return Ok(node);
        }
        if self.read_only {
            return Ok(*self.known.write().node.get_or_insert_with(|| NodeId::from_bytes(draw())));
        }
        let (node, batch) = {
            let mut writer = self.writer()?;
            let node = match writer.known.node {
                // drawn by another session, and on its way
                Some(node) => node,
                None => {
                    let drawn = NodeId::from_bytes(draw());
                    writer.know(|known| known.node = Some(drawn));
                    writer.set_meta(NODE, Some(drawn.as_bytes().to_vec()));
                    drawn
                }
            };
            (node, writer.rests_on())
        };
        self.flush(batch)?;
        Ok(node)
    }

    /// The dataset of a peer, where there is none yet.
    pub(crate) fn adopt(&self, dataset: DatasetId) -> Result<()> {
        let (adopted, batch) = {
            let mut writer = self.writer()?;
            let adopted = match writer.known.dataset {
                Some(ours) if ours != dataset => {
                    Err(Error::WrongDataset { ours: self.named(ours), theirs: dataset.into() })
                }
                Some(_) => Ok(()),
                None => {
                    writer.settle_dataset(dataset);
                    Ok(())
                }
            };
            // what is there already may be on its way, brought by another
            (adopted, writer.rests_on())
        };
        self.flush(batch)?;
        adopted
    }

    /// Another one, by the application. Only of a store without commits but local ones.
    fn set_dataset(&self, dataset: DatasetId) -> Result<()> {
        let (settled, batch) = {
            let mut writer = self.writer()?;
            let settled = match writer.known.dataset {
                Some(ours) if ours == dataset => Ok(()),
                Some(ours) if !is_empty(&self.writer_view(&writer)?)? => {
                    Err(Error::WrongDataset { ours: self.named(ours), theirs: self.named(dataset) })
                }
                _ => {
                    writer.settle_dataset(dataset);
                    if writer.known.own.is_some() {
                        // drawn for a first commit that failed, and of the dataset that was
                        writer.forget_log();
                    }
                    Ok(())
                }
            };
            // what is there already may be on its way, brought by another
            (settled, writer.rests_on())
        };
        self.flush(batch)?;
        settled
    }
}

impl LogWriter {
    /// For good, once a commit is here.
    pub(crate) fn settle_dataset(&mut self, dataset: DatasetId) {
        self.know(|known| known.dataset = Some(dataset));
        self.name_dataset(dataset);
    }

    /// The row of the dataset, with its name if that is known.
    fn name_dataset(&mut self, dataset: DatasetId) {
        let mut row = dataset.as_bytes().to_vec();
        let name =
            self.dataset_name.as_deref().filter(|name| DatasetId::from_name(name) == dataset);
        row.extend_from_slice(name.unwrap_or_default().as_bytes());
        self.set_meta(DATASET, Some(row));
    }
}

/// Whether no commit is here that a peer may hear of.
pub(crate) fn is_empty(view: &View<'_>) -> Result<bool> {
    for line in view.directory.all_shared() {
        if view.dot_at(line, Sequence::END)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}
