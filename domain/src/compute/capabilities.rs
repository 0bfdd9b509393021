//! What an agent can run at all, whatever room it has.

use super::task::work::Work;

/// The programs and images of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Programs that tasks may name; none when they may name every one.
    pub programs: Option<Vec<String>>,
    /// Types of tasks that it has a program of its own for.
    pub task_types: Vec<String>,
    /// Images that tasks may name; empty where nothing runs in containers.
    pub images: Vec<String>,
}

/// Why an agent cannot run a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("this server does not run {0}")]
    Program(String),
    #[error("the task names no command, and this server has no program for {0} tasks")]
    TaskType(String),
    #[error("this server does not run the image {0}")]
    Image(String),
}

impl Capabilities {
    /// Makes sure that a task of this type can be run.
    ///
    /// # Errors
    /// [`Unfit`], which says what is missing.
    pub fn check(&self, task_type: &str, work: &Work) -> Result<(), Unfit> {
        let named = |list: &[String], word: &str| list.iter().any(|listed| listed == word);
        if let Some(image) = work.image.as_deref().filter(|image| !named(&self.images, image)) {
            return Err(Unfit::Image(image.to_owned()));
        }
        match (&work.command, &self.programs) {
            (None, _) if !named(&self.task_types, task_type) => Err(Unfit::TaskType(task_type.to_owned())),
            (None, _) | (Some(_), None) => Ok(()),
            (Some(words), Some(programs)) => {
                let program = words.first().map_or("", String::as_str);
                if named(programs, program) { Ok(()) } else { Err(Unfit::Program(program.to_owned())) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(program: Option<&str>, image: Option<&str>) -> Work {
        let command = program.map(|program| vec![program.to_owned(), "x".to_owned()]);
        Work { command, image: image.map(str::to_owned), ..Work::default() }
    }

    #[test]
    fn a_command_must_be_allowed_and_without_one_there_must_be_a_program() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let some =
            Capabilities { programs: Some(words(&["sh"])), task_types: words(&["inference"]), images: Vec::new() };
        assert_eq!(some.check("training", &work(Some("sh"), None)), Ok(()));
        assert_eq!(some.check("training", &work(Some("cat"), None)), Err(Unfit::Program("cat".to_owned())));
        assert_eq!(some.check("inference", &work(None, None)), Ok(()));
        assert_eq!(some.check("training", &work(None, None)), Err(Unfit::TaskType("training".to_owned())));
        let every = Capabilities { programs: None, ..some };
        assert_eq!(every.check("training", &work(Some("cat"), None)), Ok(()));
    }

    #[test]
    fn a_task_that_names_an_image_runs_in_no_other_way() {
        let bare = Capabilities { programs: None, task_types: Vec::new(), images: Vec::new() };
        assert_eq!(bare.check("x", &work(Some("sh"), Some("cuda"))), Err(Unfit::Image("cuda".to_owned())));
        let boxed = Capabilities { images: vec!["cuda".to_owned()], ..bare };
        assert_eq!(boxed.check("x", &work(Some("sh"), Some("cuda"))), Ok(()));
        assert_eq!(boxed.check("x", &work(Some("sh"), None)), Ok(()));
    }
}
