"""Quality and cost: PSNR, SSIM, VMAF, code usage, comparisons."""
