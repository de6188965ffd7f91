//! `models/manifest.toml` as types, embedded in the program.

use std::sync::OnceLock;

use serde::Deserialize;

use super::ModelError;

/// Every model of the embedded manifest.
///
/// # Panics
/// Never in a program whose tests pass: one of them reads the manifest.
#[must_use]
pub fn all() -> &'static [Model] {
    static MODELS: OnceLock<Vec<Model>> = OnceLock::new();
    MODELS
        .get_or_init(|| parse(include_str!("../../models/manifest.toml")).expect("a test reads the embedded manifest"))
}

fn parse(text: &str) -> Result<Vec<Model>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Manifest {
        model: Vec<Model>,
    }
    toml::from_str(text).map(|Manifest { model }| model)
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name backends and people use.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// SPDX expression of its licence.
    pub licence: String,
    /// What it needs of a machine, for people.
    pub requires: String,
    /// The package that carries it.
    pub package: String,
    /// The package's version.
    pub version: String,
    #[serde(rename = "wheel")]
    wheels: Vec<Wheel>,
    #[serde(rename = "file")]
    files: Vec<File>,
}

/// A wheel that carries a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// Its system, as Rust names it.
    pub os: String,
    /// Its architecture, as Rust names it.
    pub arch: String,
    /// Its file name.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    #[serde(rename = "file", default)]
    files: Vec<File>,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The wheel's member it is.
    pub member: String,
    /// Its name in the model's folder.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
}

impl Model {
    /// The wheel for this machine.
    ///
    /// # Errors
    /// [`ModelError::Platform`] when there is none.
    pub fn wheel(&self) -> Result<&Wheel, ModelError> {
        self.wheel_for(std::env::consts::OS, std::env::consts::ARCH)
    }

    fn wheel_for(&self, os: &str, arch: &str) -> Result<&Wheel, ModelError> {
        self.wheels.iter().find(|wheel| wheel.os == os && wheel.arch == arch).ok_or_else(|| {
            let arches: Vec<_> = self.wheels.iter().map(|wheel| format!("{} on {}", wheel.os, wheel.arch)).collect();
            ModelError::Platform {
                name: self.name.clone(),
                here: format!("{os} on {arch}"),
                requires: format!("{} ({})", self.requires, arches.join(" or ")),
            }
        })
    }

    /// The files that `wheel` brings.
    pub fn files<'a>(&'a self, wheel: &'a Wheel) -> impl Iterator<Item = &'a File> {
        self.files.iter().chain(&wheel.files)
    }

    /// Name of its folder in a store.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Package and version, as pip writes them.
    #[must_use]
    pub fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_embedded_manifest_is_whole() {
        let models = all();
        assert!(!models.is_empty());
        for model in models {
            assert!(!model.wheels.is_empty(), "{} has no wheel", model.name);
            for wheel in &model.wheels {
                let files: Vec<_> = model.files(wheel).collect();
                let names: HashSet<_> = files.iter().map(|file| &file.name).collect();
                assert_eq!(names.len(), files.len(), "two files of {} have one name", wheel.name);
                let pins = files.iter().map(|file| (&file.sha256, file.size)).chain([(&wheel.sha256, wheel.size)]);
                for (sha256, size) in pins {
                    assert!(size > 0 && sha256.len() == 64, "{sha256}");
                    assert!(sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{sha256}");
                }
                // Names become paths.
                for name in names.into_iter().chain([&wheel.name]) {
                    assert!(!name.contains(['/', '\\']) && !name.starts_with('.'), "{name}");
                }
            }
        }
        let names: HashSet<_> = models.iter().map(|model| &model.name).collect();
        assert_eq!(names.len(), models.len());
    }

    #[test]
    fn the_manifest_names_no_registry() {
        assert!(!include_str!("../../models/manifest.toml").contains("://"));
    }

    #[test]
    fn the_wheel_is_chosen_by_system_and_architecture() {
        let model = &all()[0];
        assert!(model.wheel_for("linux", "x86_64").unwrap().name.ends_with("x86_64.whl"));
        assert!(model.wheel_for("linux", "aarch64").unwrap().name.ends_with("aarch64.whl"));
        let error = model.wheel_for("plan9", "mips").unwrap_err().to_string();
        for part in ["moonshine", "plan9 on mips", "linux on x86_64", "glibc 2.34"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let good =
            "[[model]]\nname='n'\nabout='a'\nlicence='l'\nrequires='r'\npackage='p'\nversion='1'\nwheel=[]\nfile=[]\n";
        assert_eq!(parse(good).unwrap().len(), 1);
        assert!(parse(&good.replace("licence", "license")).unwrap_err().to_string().contains("license"));
    }
}
