//! The user of a command: from what USER says to numbers and a home.
//!
//! Source: Docker. A number need not be in `/etc/passwd`, a name must be; a group that is named replaces all others.

use super::copy::read_image_file;
use super::files::Draft;
use crate::ports::{BuildContext, BuildError};

/// A user as the kernel knows it, and its home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

/// Finds a user `NAME[:GROUP]` in an image; an empty one is root.
pub fn find_user(context: &BuildContext<'_>, draft: &Draft, text: &str, step: &str) -> Result<User, BuildError> {
    let passwd = read_image_file(context, draft, "etc/passwd")?;
    let group = read_image_file(context, draft, "etc/group")?;
    parse_user(&passwd, &group, text).map_err(|why| BuildError::Step { step: step.to_owned(), why })
}

fn parse_user(passwd: &str, group: &str, text: &str) -> Result<User, String> {
    let (name, group_name) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|g| !g.is_empty())),
        None => (text, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let number: Option<u32> = name.parse().ok();
    let lines = || passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let field = |line: &[&str], index: usize| line.get(index).and_then(|f| f.parse::<u32>().ok());
    let known = lines().find(|line| line.first() == Some(&name));
    let known = known.or_else(|| lines().find(|line| number.is_some() && field(line, 2) == number));
    let uid = known.as_ref().and_then(|line| field(line, 2)).or(number);
    let uid = uid.ok_or_else(|| format!("/etc/passwd of the image has no user `{name}`"))?;
    let mut user = User { uid, gid: 0, groups: Vec::new(), home: "/".to_owned() };
    if let Some(line) = &known {
        user.gid = field(line, 3).unwrap_or(0);
        if let Some(home) = line.get(5).filter(|h| !h.is_empty()) {
            (*home).clone_into(&mut user.home);
        }
    }
    let groups = || group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    if let Some(wanted) = group_name {
        let line = groups().find(|line| line.first() == Some(&wanted));
        let gid = line.as_ref().and_then(|line| field(line, 2)).or_else(|| wanted.parse().ok());
        user.gid = gid.ok_or_else(|| format!("/etc/group of the image has no group `{wanted}`"))?;
    } else if let Some(login) = known.as_ref().and_then(|line| line.first()) {
        let member = |line: &Vec<&str>| line.get(3).is_some_and(|list| list.split(',').any(|m| m == *login));
        user.groups = groups().filter(member).filter_map(|line| field(&line, 2)).collect();
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\naudio:x:29:other,app\n";

    fn user(text: &str) -> (u32, u32, Vec<u32>, String) {
        let user = parse_user(PASSWD, GROUP, text).unwrap();
        (user.uid, user.gid, user.groups, user.home)
    }

    #[test]
    fn users_bring_their_groups_and_their_home() {
        assert_eq!(user(""), (0, 0, vec![], "/root".into()));
        assert_eq!(user("app"), (1000, 1001, vec![29], "/home/app".into()));
        assert_eq!(user("1000"), (1000, 1001, vec![29], "/home/app".into()));
        assert_eq!(user("app:audio"), (1000, 29, vec![], "/home/app".into()));
        assert_eq!(user("77:88"), (77, 88, vec![], "/".into()));
        assert_eq!(user("77"), (77, 0, vec![], "/".into()));
        assert_eq!(parse_user("", "", "").unwrap().home, "/");
        assert!(parse_user(PASSWD, GROUP, "nobody").is_err() && parse_user(PASSWD, GROUP, "app:nogroup").is_err());
    }
}
