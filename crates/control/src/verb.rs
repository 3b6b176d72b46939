//! Every verb of the control plane, and which role may do it: one table. What is not in it cannot be asked for.

use std::fmt;

use model::ControlRole;

macro_rules! verbs {
    ($($(#[$doc:meta])* $verb:ident, $name:literal, [$($role:ident)*];)*) => {
        /// What can be done to Portcullis.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Verb { $($(#[$doc])* $verb,)* }

        impl Verb {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$verb,)*];

            /// As the audit log writes it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$verb => $name,)* }
            }

            /// The roles that may do it; none: Portcullis alone does.
            pub const fn roles(self) -> &'static [ControlRole] {
                match self { $(Self::$verb => &[$(ControlRole::$role,)*],)* }
            }
        }
    };
}

verbs! {
    // Reading. What a role sees of it is `visible`'s to say.
    /// Reads documents.
    Read, "read", [User Auditor Approver Owner];
    /// Lists live sessions; users and approvers see their own.
    ListSessions, "listSessions", [User Auditor Approver Owner];
    /// Asks why someone else may, or may not, connect. Everyone may ask it about themselves.
    Explain, "explain", [Auditor Approver Owner];
    /// Reads the audit log.
    ReadAudit, "readAudit", [Auditor Owner];
    /// Reads figures from another host.
    ReadMetrics, "readMetrics", [Auditor Owner];
    /// Asks what is wrong with the installation and its servers.
    Diagnose, "diagnose", [Auditor Owner];
    /// Asks what an operator must change on a database server.
    EnrollServer, "enrollServer", [Owner];

    // Documents.
    /// Creates and changes documents from files.
    Apply, "apply", [Owner];
    /// Creates or replaces one document.
    Put, "put", [Owner];
    /// Deletes one document.
    Delete, "delete", [Owner];

    // Activations. Whose, and under which rules, is `access::activation`'s to say.
    /// Asks for membership of a group, for themselves.
    Request, "request", [User Approver Owner];
    /// Says yes to someone else's request.
    Approve, "approve", [Approver Owner];
    /// Says no to someone else's request.
    Deny, "deny", [Approver Owner];
    /// Takes their own request back.
    Cancel, "cancel", [User Approver Owner];
    /// Ends their own membership early.
    Deactivate, "deactivate", [User Approver Owner];
    /// Ends someone else's membership now.
    Revoke, "revoke", [Approver Owner];

    // Credentials and sessions.
    /// Issues a Temporary Access Pass for a person.
    IssuePass, "issuePass", [Owner];
    /// Issues a token with which a machine joins.
    IssueJoinToken, "issueJoinToken", [Owner];
    /// Makes a secret for an application.
    AddClientSecret, "addClientSecret", [Owner];
    /// Removes a secret of an application.
    RemoveClientSecret, "removeClientSecret", [Owner];
    /// Makes a credential with which a directory pushes people and groups.
    AddScimCredential, "addScimCredential", [Owner];
    /// Removes one.
    RemoveScimCredential, "removeScimCredential", [Owner];
    /// Lists them.
    ReadScimCredentials, "readScimCredentials", [Auditor Owner];
    /// Revokes anyone's tokens.
    RevokeTokens, "revokeTokens", [Owner];
    /// Revokes their own tokens.
    RevokeOwnTokens, "revokeOwnTokens", [User Auditor Approver Owner];
    /// Cuts live sessions.
    CutSession, "cutSession", [Owner];
    /// Lets Portcullis manage a database user that it did not create.
    AdoptDatabaseUser, "adoptDatabaseUser", [Owner];
    /// Gives up the users of a deleted server that does not exist any more.
    AbandonServer, "abandonServer", [Owner];
    /// Makes the next key that signs tokens.
    RotateSigningKey, "rotateSigningKey", [Owner];
    /// Makes the next authority that signs certificates.
    RotateAuthority, "rotateAuthority", [Owner];

    // Portcullis' own, and directories'.
    /// Keeps the people and groups of a directory as it says.
    ProvisionDirectory, "provisionDirectory", [];
    /// Makes the tenant and the first owner.
    Initialise, "initialise", [];
    /// Applies the example folder to an empty store.
    Seed, "seed", [];
    /// Makes an owner able to sign in again, on the server's own host.
    RecoverOwner, "recoverOwner", [];
    /// Keeps what signing in leaves behind: enrolments, used codes, refresh tokens, device requests.
    SignIn, "signIn", [];
    /// Ends what is overdue.
    Expire, "expire", [];
    /// Forgets what has been over for long enough.
    Forget, "forget", [];
    /// Records database users.
    Provision, "provision", [];
    /// Records what is known of a server.
    Observe, "observe", [];
    /// Keeps keys and authorities.
    KeepKeys, "keepKeys", [];
}

/// Whether a role may do it.
pub fn allowed(verb: Verb, role: ControlRole) -> bool {
    verb.roles().contains(&role)
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
