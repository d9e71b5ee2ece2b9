//! WORKDIR: where what follows is done. It is made if it is not there.

use super::StageRun;
use crate::copy::resolve::resolve;
use crate::copy::{Layout, Owner};
use crate::error::{Problem, read};
use crate::key::Key;

impl StageRun<'_> {
    pub(super) fn workdir(&mut self, path: &str) -> Result<(), Problem> {
        let path = self.config().at_working_dir(&self.expand(path)?);
        self.state.base.config.config.working_dir.clone_from(&path);
        let (build, layers, user) = (self.build, self.state.base.layers.clone(), self.config().user.clone());
        let key = || {
            let mut key = Key::of("workdir");
            key.layers(&layers);
            key.part("path", &path);
            key.part("user", &user);
            build.epoch_into(&mut key);
            Ok(key)
        };
        let work = |_| {
            let tree = build.bench.tree(&layers)?;
            let owner = if user.is_empty() { Owner::ROOT } else { Owner::parse(&user, &tree)? };
            let mut layout = Layout::new(Some(&tree), (owner, Layout::DIR_MODE), build.now());
            let place = resolve(&tree, path.as_bytes()).map_err(read(&path))?;
            layout.ensure_dir(&place).map_err(|problem| match problem {
                Problem::NonDirectory(_) => Problem::WorkingDir(path.clone()),
                other => other,
            })?;
            if layout.is_idle() {
                return Ok(None);
            }
            Ok(build.bench.add_layer(&layers, &mut layout.into_tar(build.newest()), build)?)
        };
        let text = format!("WORKDIR {path}");
        let layer = self.change(&text, &[&key], &work)?;
        self.tell(text, layer);
        Ok(())
    }
}
