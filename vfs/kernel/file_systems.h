// Whether a file system keeps what SQLite builds on: POSIX locks that every process honours, and,
// for a WAL, memory that all of them share.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lockscope::kernel {

enum class LockSafety {
  kSafe,      // of one machine, or nothing else is known of it
  kDoubtful,  // depends on how it is set up, and on one machine alone using the file
  kUnsafe,    // other machines, or the host, can change the file behind our locks
};

// Of a type as /proc/self/mountinfo has it: "ext4", "nfs4", "fuse.sshfs".
//
//   unsafe    nfs, nfs4, cifs, smb3, smbfs, 9p, virtiofs, afs, ncpfs, coda, vboxsf, prl_fs, vmhgfs;
//             and through FUSE sshfs, s3fs, rclone and their like
//   doubtful  every other FUSE, fuseblk; and cluster file systems (ceph, lustre, gfs2, ocfs2, …),
//             whose locks may hold between machines, but whose -shm is no shared memory there
//   safe      all others. overlay too: both of its layers are this kernel's, and it locks the upper
//             file; only a file that is first opened for writing while another process has it open
//             for reading alone becomes two, and that is for looking at the open files to tell
LockSafety SafetyOf(std::string_view type) noexcept;

// The type of the file system on which the file at `path` lies (symbolic links followed), from its
// mount; where the kernel does not tell the mount (before Linux 5.8), from statfs(), as far as that
// number has a name here. Null where neither tells.
std::optional<std::string> FileSystemOf(const std::string& path);

}  // namespace lockscope::kernel
