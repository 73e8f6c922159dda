# SPDX-License-Identifier: MIT OR Apache-2.0

EAPI=7

inherit toolchain-funcs udev

DESCRIPTION="The buffer allocator for virtual machines: libgbm with minigbm's API, and a driver for minigbm itself"
SRC_URI="${P}.tar.xz"
# Made by chromeos/packaging/dist, with the crates in it.
RESTRICT="fetch"

LICENSE="|| ( MIT Apache-2.0 )"
SLOT="0"
KEYWORDS="*"
IUSE="+gbm arc minigbm-driver seccomp udev"
REQUIRED_USE="|| ( gbm minigbm-driver )"

# A program links the libgbm of the header that it was built with: there is one of them in a sysroot.
RDEPEND="gbm? ( !media-libs/minigbm !media-libs/mesa[gbm(+)] )"
DEPEND="minigbm-driver? ( x11-libs/libdrm )"
BDEPEND="virtual/rust virtual/pkgconfig"

# minigbm's sources, by whose headers the driver is built.
: "${MINIGBM_SOURCE:=/mnt/host/source/src/platform/minigbm}"

pkg_nofetch() {
	einfo "Run chromeos/packaging/dist ${DISTDIR} in the sources of virgbm."
}

# The scripts of the sources build and install in one step.
src_compile() {
	:
}

src_install() {
	export DESTDIR="${D}" CARGO_HOME="${T}/cargo" CARGO_TARGET_DIR="${WORKDIR}/target" CARGO_NET_OFFLINE=true
	tc-export CC AR PKG_CONFIG
	# ChromeOS' Rust has a target for each of its toolchains, of the same name.
	local target=${CHOST^^}
	export CARGO_BUILD_TARGET="${CHOST}" "CARGO_TARGET_${target//-/_}_LINKER=$(tc-getCC)"

	if use gbm; then
		chromeos/gbm/install "${EPREFIX}/usr" --libdir "${EPREFIX}/usr/$(get_libdir)" --locked || die
	fi
	if use minigbm-driver; then
		chromeos/backend/install "${EPREFIX}/usr" --minigbm "${MINIGBM_SOURCE}" --libdir "${EPREFIX}/usr/$(get_libdir)" --locked || die
	fi
	if use arc; then
		insinto /usr/include/virgbm
		doins chromeos/arc/cros_gralloc_handle.h
	fi
	if use udev; then
		udev_dorules chromeos/packaging/90-virgbm.rules
	fi
	if use seccomp; then
		insinto /usr/share/policy
		doins chromeos/packaging/virgbm.policy
	fi
	dodoc chromeos/README.md
}
